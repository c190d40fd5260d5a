"""What a run's pods printed, through the Kubernetes API: Kubeflow's own API (v2beta1) gives no logs.

Only as far as the kubeconfig (or the pod's ServiceAccount) may read pods, and only while the pods are there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipway import kubeconfig
from shipway.dag import Place, attempt_of
from shipway.errors import UserError

if TYPE_CHECKING:
    from shipway.executors.kubernetes.api import Api

RUN_LABEL = "pipeline/runid"
NODE = "workflows.argoproj.io/node-name"
CONTAINER = "main"
LINES = "5000"
PATIENCE_S = 15.0


def pod_logs(run_id: str, steps: set[str], *, namespace: str) -> tuple[dict[str, str], list[str]]:
    """Logs of the steps' pods.

    Args:
        run_id: The run.
        steps: Names of the steps that are wanted, or of tasks, for all their iterations; empty for all.
        namespace: Where the run's pods are.

    Returns:
        Step -> text, and a line for each log that could not be read. Where a step has several pods, one for each
        attempt, each has its number behind it: `train.0(1)`.
    """
    if not kubeconfig.leads_to_a_cluster():
        return {}, [
            "No pod logs: there is no kubeconfig here, and Kubeflow's API (v2beta1) gives no logs. "
            f"Where you have one: kubectl logs -n {namespace} -l {RUN_LABEL}={run_id} -c {CONTAINER}"
        ]
    from shipway.executors.kubernetes.api import Api, ApiError

    try:
        api = Api()
        query = {"labelSelector": f"{RUN_LABEL}={run_id}"}
        listed = api.request("GET", f"/api/v1/namespaces/{namespace}/pods", query=query, patience_s=PATIENCE_S)
    except ApiError as error:
        return {}, [f"No pod logs: the Kubernetes API refuses pods in {namespace}: {error.status} {error.message}"]
    except UserError as error:
        return {}, [f"No pod logs: {error}"]
    pods = {
        (step.name, attempt_of(node)): str(pod["metadata"]["name"])
        for pod in listed.get("items", [])
        if (node := (pod["metadata"].get("annotations") or {}).get(NODE, ""))
        and (step := Place.of_node(node))
        and (not steps or steps & {step.name, step.task})
    }
    if not pods:
        return {}, [f"No pod logs: the run has no pods in {namespace} any more"]
    return _read(api, pods, namespace)


def _read(api: Api, pods: dict[tuple[str, int], str], namespace: str) -> tuple[dict[str, str], list[str]]:
    """Pod by pod: one that is still waiting to start must not hide what the others printed."""
    from shipway.executors.kubernetes.api import ApiError

    texts, notes = {}, []
    often = Counter(step for step, _ in pods)
    for (step, attempt), pod in sorted(pods.items()):
        name = step if often[step] == 1 else f"{step}({attempt})"
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        try:
            lines = api.lines(path, {"container": CONTAINER, "tailLines": LINES})
            texts[name] = "".join(f"{line}\n" for line in lines)
        except ApiError as error:
            notes.append(f"No log of {name} (pod {pod}): {error.status or 'no answer'} {error.message}")
    return texts, notes
