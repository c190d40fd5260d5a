"""What a run's pods printed, through the Kubernetes API: Kubeflow's own API (v2beta1) gives no logs.

Only as far as the kubeconfig (or the pod's ServiceAccount) may read pods, and only while the pods are there.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from shipway import kubeconfig
from shipway.ending import task_of
from shipway.errors import UserError

if TYPE_CHECKING:
    from shipway.executors.kubernetes.api import Api

RUN_LABEL = "pipeline/runid"
NODE = "workflows.argoproj.io/node-name"
CONTAINER = "main"
LINES = "5000"
PATIENCE_S = 15.0


def pod_logs(run_id: str, tasks: set[str], *, namespace: str) -> tuple[dict[str, str], list[str]]:
    """Logs of the tasks' pods.

    Args:
        run_id: The run.
        tasks: Names of the tasks that are wanted; empty for all.
        namespace: Where the run's pods are.

    Returns:
        Task -> text, and a line for each log that could not be read. Where a task has several pods (iterations of a
        loop, attempts), each stands under its path in the run: `for-loop-1.item(0).train`, `train(1)`.
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
    nodes = {
        node: str(pod["metadata"]["name"])
        for pod in listed.get("items", [])
        if (node := (pod["metadata"].get("annotations") or {}).get(NODE, ""))
        and task_of(node)
        and (not tasks or task_of(node) in tasks)
    }
    if not nodes:
        return {}, [f"No pod logs: the run has no pods in {namespace} any more"]
    return _read(api, nodes, namespace)


def _read(api: Api, nodes: dict[str, str], namespace: str) -> tuple[dict[str, str], list[str]]:
    """Pod by pod: one that is still waiting to start must not hide what the others printed."""
    from shipway.executors.kubernetes.api import ApiError

    found, notes = {}, []
    often = Counter(task_of(node) for node in nodes)
    for node in sorted(nodes):
        name = task_of(node) if often[task_of(node)] == 1 else _path_of(node)
        path = f"/api/v1/namespaces/{namespace}/pods/{nodes[node]}/log"
        try:
            lines = api.lines(path, {"container": CONTAINER, "tailLines": LINES})
            found[name] = "".join(f"{line}\n" for line in lines)
        except ApiError as error:
            notes.append(f"No log of {name} (pod {nodes[node]}): {error.status or 'no answer'} {error.message}")
    return found, notes


def _path_of(node: str) -> str:
    """Where a node stands in the run, the attempt behind it."""
    path, _, last = node.rpartition(".")
    return path.partition(".")[2].removeprefix("root.") + last.removeprefix("executor")
