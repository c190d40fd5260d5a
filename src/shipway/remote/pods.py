"""What a run's pods printed, through the Kubernetes API: Kubeflow's own API (v2beta1) gives no logs.

Only as far as the kubeconfig (or the pod's ServiceAccount) may read pods, and only while the pods are there.
"""

from __future__ import annotations

import os
from typing import Any

from shipway import kubeconfig
from shipway.errors import NotFound

RUN_LABEL = "pipeline/runid"
NODE = "workflows.argoproj.io/node-name"
CONTAINER = "main"


def pod_logs(run_id: str, tasks: set[str], *, namespace: str) -> tuple[dict[str, str], str]:
    """Logs of the tasks' pods.

    Args:
        run_id: The run.
        tasks: Names of the tasks that are wanted; empty for all.
        namespace: Where the run's pods are.

    Returns:
        Task -> text, and one line that says why there is none (empty where there is some).
    """
    if not _has_cluster():
        return {}, (
            "No pod logs: there is no kubeconfig here, and Kubeflow's API (v2beta1) gives no logs. "
            f"Where you have one: kubectl logs -n {namespace} -l {RUN_LABEL}={run_id} -c {CONTAINER}"
        )
    from kubernetes import client, config
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        if os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config()
            core = client.CoreV1Api()
        else:
            core = client.CoreV1Api(client.ApiClient(kubeconfig.load()))
        pods = core.list_namespaced_pod(namespace, label_selector=f"{RUN_LABEL}={run_id}", _request_timeout=15).items
        found = {}
        for pod in pods:
            task = task_of((pod.metadata.annotations or {}).get(NODE, ""))
            if task and (not tasks or task in tasks):
                found[task] = _read(core, pod, namespace)
    except (config.ConfigException, NotFound) as error:
        return {}, f"No pod logs: the kubeconfig cannot be used: {' '.join(str(error).split())}"
    except ApiException as error:
        return {}, f"No pod logs: the Kubernetes API answered {error.status} {error.reason} for pods in {namespace}"
    except HTTPError as error:
        return {}, f"No pod logs: the Kubernetes API does not answer ({type(error).__name__})"
    return found, "" if found else f"No pod logs: the run has no pods in {namespace} any more"


def _read(core: Any, pod: Any, namespace: str) -> str:
    return str(
        core.read_namespaced_pod_log(
            pod.metadata.name, namespace, container=CONTAINER, tail_lines=5000, _request_timeout=30
        )
    )


def task_of(node: str) -> str:
    """The task whose container a pod runs; empty for drivers and DAGs.

    Argo names a node by its path: `<workflow>.root.train.executor`, with `(0)` behind a retried one.
    """
    parts = [part.partition("(")[0] for part in node.split(".")]
    return parts[-2] if len(parts) > 1 and parts[-1] == "executor" else ""


def _has_cluster() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) or kubeconfig.is_there()
