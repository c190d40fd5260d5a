"""The reaper, as the CronJob runs it: with its account and the keys of the Secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from shipway import labels
from shipway.context import Context
from shipway.errors import NotFound
from shipway.executors import Handle
from shipway.executors.kubernetes import KubernetesExecutor
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.kinds import kind_named
from shipway.executors.kubernetes.rendering import JOB
from shipway.executors.outcomes import read_outcome
from shipway.storage import Store
from shipway.store_access import contents
from tests.cluster.bed import Bed, settings
from tests.cluster.installed import Installed, job
from tests.fixtures.manifests import SLEEP, wait_for

pytestmark = pytest.mark.usefixtures("surroundings")

# -- the reaper --------------------------------------------------------------------------------------------------------


def test_the_reaper_ends_jobs_whose_lease_has_lapsed_and_no_others(installed: Installed, tmp_path: Path) -> None:
    executor = KubernetesExecutor(
        Context(tmp_path, installed.store_uri, "run", "kubernetes", installed.namespace), Api()
    )
    kind, store = kind_named("TFJob"), Store.open(installed.store_uri)
    names = {what: f"{what}-{uuid.uuid4().hex[:6]}" for what in ("lapsed", "renewed", "unleased", "ended", "suspended")}
    for what, name in names.items():
        code = "print('done')" if what == "ended" else SLEEP
        made = job(kind, name, code, suspended=what in ("suspended", "renewed", "unleased"))
        if what != "unleased":
            made["metadata"]["labels"] = {labels.LEASE: "600" if what == "renewed" else "0.2"}
        handle = executor.ensure(made)
        if what == "ended":
            assert executor.follow(handle, deadline_s=120).state == "Succeeded"
        if what != "unleased":
            # How long it lasts, says the label: what lies here, any replica may write.
            store.put(f"jobs/{name}/lease.json", json.dumps({"number": 1, "lease_s": 0.01}).encode())
    environment = _as_the_reaper(installed, tmp_path)
    said = ""
    until = time.monotonic() + 90
    while not all(names[what] in said for what in ("lapsed", "suspended")):
        assert time.monotonic() < until, said
        result = subprocess.run(
            [sys.executable, "-m", "shipway.executors.kubernetes.reaper"],
            env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (result.returncode, result.stderr) == (0, "")
        said += result.stdout
    assert said.count("ended, its step has been silent") == 2
    path = kind.path(installed.namespace)
    for what, name in names.items():
        is_left = executor.api.find(f"{path}/{name}") is not None
        assert is_left == (what not in ("lapsed", "suspended")), what
    with pytest.raises(NotFound):
        executor.suspend(Handle("TFJob", names["lapsed"], installed.namespace, ""))
    pods = f"/api/v1/namespaces/{installed.namespace}/pods"
    wait_for(lambda: not executor.api.get(pods, labelSelector=f"{JOB}={names['lapsed']}")["items"], "its pods go too")


def test_the_cron_jobs_own_pod_reaps(
    cluster: Bed, installed: Installed, shipped: Callable[..., None], tmp_path: Path
) -> None:
    shipped("launcher")
    executor = KubernetesExecutor(
        Context(tmp_path, installed.store_uri, "run", "kubernetes", installed.namespace), Api()
    )
    kind, store = kind_named("TFJob"), Store.open(installed.store_uri)
    lapsed, renewed = f"lapsed-{uuid.uuid4().hex[:6]}", f"renewed-{uuid.uuid4().hex[:6]}"
    for name, lease_s in ((lapsed, "0.2"), (renewed, "600")):
        made = job(kind, name)
        made["metadata"]["labels"] = {labels.LEASE: lease_s}
        executor.ensure(made)
        store.put(f"jobs/{name}/lease.json", b"{}")
    said, until = "", time.monotonic() + 120
    while lapsed not in said:
        assert time.monotonic() < until, said
        said += installed.reap()
    assert f"TFJob {lapsed}: ended, its step has been silent" in said
    assert executor.api.find(kind.path(installed.namespace, lapsed)) is None
    assert executor.api.find(kind.path(installed.namespace, renewed)) is not None
    record = read_outcome(installed.store_uri, lapsed)
    assert record is not None
    assert record.outcome.state == "Cancelled"


def _as_the_reaper(installed: Installed, folder: Path) -> dict[str, str]:
    """The surroundings of the CronJob's pod: its account, its namespace, and the Secret's keys, as it names them."""
    cron = installed.kubectl.get("cronjob", "shipway-reaper", "-n", installed.namespace)
    (container,) = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    (given,) = container["envFrom"]
    keys = contents(installed.kubectl.get("secret", given["secretRef"]["name"], "-n", installed.namespace))
    document = yaml.safe_load(settings.kubeconfig().read_text())
    document["users"][0]["user"] = {"token": installed.token("shipway-reaper")}
    (folder / "kubeconfig").write_text(yaml.safe_dump(document), encoding="utf-8")
    return {**os.environ, **keys, "KUBECONFIG": str(folder / "kubeconfig"), "SHIPWAY_NAMESPACE": installed.namespace}
