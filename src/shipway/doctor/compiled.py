"""The compiled pipeline whose steps are tried: a published version where a Kubeflow is configured, else our own."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from shipway import step_pod
from shipway.context import STORE
from shipway.doctor import Finding
from shipway.doctor.checkup import Checkup
from shipway.errors import NotFound, ShipwayError


def pipeline(checkup: Checkup) -> Iterator[Finding]:
    """Finds it, and whether each step that runs an image of ours is told where the store is."""
    documents, origin = _documents(checkup.pipeline)
    ours = step_pod.ours(documents)
    what = f"pipeline {checkup.pipeline}"
    if not ours:
        yield Finding(what, "info", f"{origin}; none of its steps runs an image of ours, so none is tried")
        return
    checkup.documents = documents
    told = [each for each in ours if STORE in {entry["name"] for entry in step_pod.step_environment(documents, each)}]
    checkup.executor = (told or ours)[0]
    untold = [each.removeprefix("exec-") for each in ours if each not in told]
    if untold:
        text = f"{origin}; {len(untold)} of {len(ours)} steps get no {STORE}: {', '.join(untold)}"
        mend = (
            f"shipway publish {checkup.pipeline} by this package gives it; in a pipeline of your own "
            f"kubernetes.use_secret_as_env(task, '{checkup.store_secret}', ...)"
        )
        yield Finding(what, "missing", text, mend)
        return
    checkup.secrets = step_pod.required_keys(documents)
    checkup.store_secret = step_pod.taken(documents, checkup.executor).get(STORE, checkup.store_secret)
    yield Finding(what, "ok", f"{origin}; {len(ours)} steps are told of the store by Secret {checkup.store_secret}")


def _documents(name: str) -> tuple[list[dict[str, Any]], str]:
    """IR and platform spec, and where they come from."""
    from shipway.remote import settings

    if not settings.configured_url():
        return _compiled(name), "as this package compiles it (no Kubeflow is configured: SHIPWAY_KFP)"
    from shipway.remote import connect
    from shipway.remote.submit import find_target

    try:
        kubeflow = connect()
        target = find_target(kubeflow.api, name)
    except NotFound:
        return _compiled(name), f"as this package compiles it (not published at {settings.configured_url()})"
    except ShipwayError as error:
        return _compiled(name), f"as this package compiles it ({' '.join(str(error).split())})"
    return target.documents, f"{target.version}, published at {kubeflow.settings.url}"


def _compiled(name: str) -> list[dict[str, Any]]:
    from shipway.compiling import compile_pipeline

    with tempfile.TemporaryDirectory() as folder:
        path = compile_pipeline(name, Path(folder, "pipeline.yaml"))
        return [document for document in yaml.safe_load_all(path.read_text(encoding="utf-8")) if document]
