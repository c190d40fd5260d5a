"""Who a step is on Kubeflow: read from its own pod, never from a parameter (a run id there would defeat caching)."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shipway import mounted
from shipway.dag import NOWHERE, Place, attempt_of
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import PODS

RUN_ID = "pipeline/runid"
NODE = "workflows.argoproj.io/node-name"


@dataclass(frozen=True)
class OwnPod:
    """What a step's pod says of its run.

    Attributes:
        run: Equal over retries of the step.
        place: Of its task in the pipeline; where nothing tells it, the execution stands for an iteration.
        execution: Of this task within the run; differs in each iteration of a loop, stays over retries.
        owner: Of what the step creates: the Workflow, so that it is collected with the run and survives the pod.
        attempt: 0, and one more at each retry by Argo; a retry that a person asks for begins with 0 again.
        inputs: Input artifact -> URI that its maker wrote it to: `<root>/<pipeline>/<run>/<task>/<salt>/<output>`.
        made: Output artifact -> URI that this step writes it to.
    """

    namespace: str
    run: str
    execution: str
    owner: dict[str, Any] | None
    place: Place = NOWHERE
    attempt: int = 0
    inputs: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)


@functools.cache
def own_pod() -> OwnPod | None:
    """The pod that this process runs in; None outside of Kubeflow Pipelines."""
    name = os.environ.get(mounted.KFP_POD)
    if not name:
        return None
    namespace = mounted.namespace()
    try:
        return read_pod(Api().get(PODS.path(namespace, name)))
    except ApiError as error:
        raise explain(error, f"pod {name}, which is this step's own", namespace) from error


def read_pod(pod: Mapping[str, Any]) -> OwnPod:
    """What matters of a step's pod."""
    metadata = pod["metadata"]
    pod_labels = metadata.get("labels") or {}
    workflow = next((each for each in metadata.get("ownerReferences") or [] if each.get("kind") == "Workflow"), None)
    owner = None
    if workflow is not None:
        owner = {key: workflow[key] for key in ("apiVersion", "kind", "name", "uid")} | {"blockOwnerDeletion": False}
    words = [word for part in pod["spec"]["containers"] for key in ("command", "args") for word in part.get(key) or []]
    node, execution = (metadata.get("annotations") or {}).get(NODE, ""), _option(words, "execution_id")
    given = _option(words, "executor_input")
    return OwnPod(
        namespace=metadata["namespace"],
        run=pod_labels.get(RUN_ID, "") or (workflow or {}).get("name", "") or metadata["name"],
        execution=execution,
        owner=owner,
        place=Place.of_node(node) or Place("", execution),
        attempt=attempt_of(node),  # KFP_RETRY_INDEX is set only where the task itself asks for retries
        inputs=_artifacts(given, "inputs"),
        made=_artifacts(given, "outputs"),
    )


def _artifacts(executor_input: str, side: str) -> dict[str, str]:
    """Artifacts with their URIs; of a list (`Collected`), each by its place in it: `models.0`."""
    try:
        given = json.loads(executor_input)[side]["artifacts"]
        return {
            name if len(each["artifacts"]) == 1 else f"{name}.{at}": str(artifact["uri"])
            for name, each in given.items()
            for at, artifact in enumerate(each["artifacts"])
        }
    except (ValueError, KeyError, TypeError, AttributeError):  # a step without artifacts, or none of Kubeflow's
        return {}


def _option(words: list[str], name: str) -> str:
    """The value of `--name value` or `--name=value`; empty where it is not given."""
    for index, word in enumerate(words):
        if word.lstrip("-").partition("=")[0] == name and word.startswith("-"):
            return word.partition("=")[2] if "=" in word else "".join(words[index + 1 : index + 2])
    return ""
