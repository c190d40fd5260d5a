"""How a cluster's objects are judged; the cluster itself is asked in tests/cluster/test_doctor.py."""

from __future__ import annotations

import calendar
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import private
from shipway.doctor import access, kfp, operators, pods
from shipway.doctor.checkup import Checkup
from shipway.errors import AccessDenied, StorageError
from shipway.storage import Store, weed
from shipway.storage.buckets import ensure_bucket
from shipway.storage.server import S3Config
from tests.fixtures.manifests import wait_for


def deployment(replicas: int, available: int) -> dict[str, Any]:
    template = {"spec": {"containers": [{"image": "operator:1"}]}}
    return {
        "metadata": {"namespace": "kubeflow"},
        "spec": {"replicas": replicas, "template": template},
        "status": {"availableReplicas": available},
    }


@pytest.mark.parametrize(("found", "state", "mend"), [
    ([deployment(1, 1)], "ok", ""),
    ([deployment(0, 0)], "missing", "kubectl -n kubeflow scale deployment/training-operator --replicas=1"),
    ([deployment(1, 0)], "missing", "kubectl -n kubeflow describe deployment/training-operator"),
    ([], "warn", "kubectl get deployments -A | grep training-operator"),
])  # fmt: skip
def test_an_operator_that_does_not_run_is_told_with_the_command_to_look(
    found: list[dict[str, Any]], state: str, mend: str
) -> None:
    finding = operators._running("training-operator", "tfjobs", found)
    assert finding.state == state
    assert finding.mend.startswith(mend)


MANIFESTS = Path(__file__).parents[2] / "manifests"
RETRIES = {"retryStrategy": {"retryPolicy": "OnError"}}


@pytest.mark.parametrize(("data", "patch"), [
    ({"workflowDefaults": yaml.safe_dump({"spec": {"templateDefaults": RETRIES}})}, {"workflowDefaults": None}),
    (
        {"workflowDefaults": yaml.safe_dump({"spec": {"templateDefaults": RETRIES, "parallelism": 9}})},
        {"workflowDefaults": "spec:\n  parallelism: 9\n"},
    ),
])  # fmt: skip
def test_the_patch_takes_away_template_defaults_and_nothing_else(
    data: dict[str, str], patch: dict[str, str | None]
) -> None:
    finding = kfp._defaults("kubeflow", data)
    assert finding.state == "warn"
    assert json.loads(finding.mend.partition(" -p ")[2].strip("'")) == {"data": patch}


# The data of KFP 2.17's workflow-controller-configmap, but for the comments (manifests/kustomize/third-party/argo).
SHIPPED = {
    "artifactRepository": "archiveLogs: true\ns3:\n  endpoint: seaweedfs.kubeflow.svc:9000\n  bucket: mlpipeline\n",
    "executor": "imagePullPolicy: IfNotPresent\nsecurityContext:\n  runAsNonRoot: true\n  runAsUser: 65532\n",
    "workflowDefaults": """spec:
  ttlStrategy:
    secondsAfterCompletion: 3600
    secondsAfterSuccess: 3600
    secondsAfterFailure: 3600
  templateDefaults:
    retryStrategy:
      limit: '2'
      retryPolicy: OnError
""",
}


def test_the_file_and_the_printed_patch_leave_kfps_defaults_alone_but_for_the_retries() -> None:
    """Both are merge patches of the ConfigMap: what they name is replaced, what they do not name stays."""
    finding = kfp._defaults("kubeflow", SHIPPED)
    printed = json.loads(finding.mend.partition(" -p ")[2].strip("'"))["data"]
    file = yaml.safe_load((MANIFESTS / "kfp" / "template-defaults.yaml").read_text(encoding="utf-8"))["data"]
    wanted = yaml.safe_load(SHIPPED["workflowDefaults"])
    del wanted["spec"]["templateDefaults"]
    for patch in (printed, file):
        assert list(patch) == ["workflowDefaults"]
        assert yaml.safe_load(patch["workflowDefaults"]) == wanted
        assert kfp._defaults("kubeflow", {**SHIPPED, **patch}).state == "ok"


@pytest.mark.parametrize("data", [{}, {"workflowDefaults": "spec:\n  parallelism: 9\n"}, {"workflowDefaults": ""}])
def test_a_controller_without_template_defaults_is_well(data: dict[str, str]) -> None:
    assert kfp._defaults("kubeflow", data).state == "ok"


@pytest.mark.parametrize("text", ["- a list", "a: b: c", "spec: words"])
def test_settings_that_cannot_be_read_are_said(text: str) -> None:
    assert kfp._defaults("kubeflow", {"workflowDefaults": text}).state == "warn"


# -- who installs ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("namespace", "account", "command"), [
    ("kubeflow", "", "kubectl apply -k manifests/overlays/standalone -l app.kubernetes.io/part-of=shipway"),
    ("kubeflow", "pipeline-runner", "kubectl apply -k manifests/overlays/standalone -l app.kubernetes.io/part-of="),
    ("ada", "default-editor", "sed 's/team-a/ada/g; s/default-editor/default-editor/g'"),
    ("ml", "pipeline-runner", "sed 's/team-a/ml/g; s/default-editor/pipeline-runner/g'"),
    ("shipway-dev", "robot", "sed 's/team-a/shipway-dev/g; s/default-editor/robot/g'"),
])  # fmt: skip
def test_what_is_missing_is_installed_here_for_this_account(namespace: str, account: str, command: str) -> None:
    install = Checkup(None, namespace, account).install
    assert command in install
    assert "overlays/dev" not in install


# -- the reaper --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "age_s", "state"), [
    ({}, 30, "ok"),
    ({}, 601, "warn"),  # an image that cannot be pulled, say
    ({"lastSuccessfulTime": "2026-11-21T12:00:00Z"}, 90000, "ok"),
    ({"lastSuccessfulTime": "2026-11-21T11:49:00Z"}, 90000, "warn"),
])  # fmt: skip
def test_a_reaper_that_has_not_worked_for_ten_minutes_is_told(status: dict[str, str], age_s: int, state: str) -> None:
    noon = calendar.timegm((2026, 11, 21, 12, 0, 30))
    born = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(noon - age_s))
    cron = {"metadata": {"namespace": "ml", "creationTimestamp": born}, "spec": {"schedule": "* * * * *"}}
    found = access._reaped({**cron, "status": status}, noon)
    assert found.state == state
    assert ("kubectl -n ml describe pods" in found.mend) == (state == "warn")


# -- storage from a pod ------------------------------------------------------------------------------------------------


@contextmanager
def store_of_keys_that_may(folder: Path, actions: list[str], host: str = weed.HOST) -> Iterator[dict[str, str]]:
    """A real object store with a bucket `bucket`, and the variables that lead to it with keys of these rights alone;
    `admin` and `admin-secret` may do everything."""
    ports = weed.free_ports()
    users = {"admin": ["Admin", "Read", "Write", "List"], "team": actions}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": f"{name}-secret"}], "actions": rights}
        for name, rights in users.items()
    ]
    private.write_text(folder / "s3.json", json.dumps({"identities": identities}))
    server = weed.spawn(folder, ports, host)
    endpoint = f"http://{host}:{ports['s3']}"

    def is_made() -> bool:
        with suppress(StorageError):
            ensure_bucket("bucket", S3Config(endpoint, "us-east-1", "admin", "admin-secret"))
            return True
        return False

    try:
        wait_for(is_made, "the bucket is made")
        yield {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": "team-secret",
               "AWS_REGION": "us-east-1", "NO_PROXY": host, "SHIPWAY_STORE": "s3://bucket/shipway"}  # fmt: skip
    finally:
        server.kill()
        server.wait()
        weed.remove_sockets(ports)


@pytest.mark.parametrize(("actions", "said"), [
    (["Read:bucket/*", "Write:bucket/*", "List:bucket"], ""),
    (["Read:bucket/*", "Write:bucket/*"], "list"),
    (["Read:bucket/*"], "write"),
])  # fmt: skip
def test_the_probe_names_what_the_keys_may_not(actions: list[str], said: str, tmp_path: Path) -> None:
    with store_of_keys_that_may(tmp_path, actions) as variables:
        surroundings = {**os.environ, **variables, "HOSTNAME": "pod"}
        result = subprocess.run([sys.executable, *pods.command()[1:]], env=surroundings, capture_output=True, text=True,
                                check=True)  # fmt: skip
    answer = json.loads(result.stdout.removeprefix("doctor "))
    assert (answer.get("doing", ""), answer.get("kind", "")) == (said, "AccessDenied" if said else "")
    assert ("how" in answer) == (not said)


def test_keys_that_may_not_delete_are_refused_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with store_of_keys_that_may(tmp_path, ["Read:bucket/*"]) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(AccessDenied):
            Store.open().delete("a", "b")
