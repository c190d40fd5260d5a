"""Whether the Secrets that a published pipeline's steps take are there: asked of Kubernetes before anything is started.

A pod without one never starts, and Kubeflow shows its task as running for ever. Only as far as the kubeconfig (or the
pod's ServiceAccount) may read them, and only in the cluster that this Kubeflow runs in.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shipway import kubeconfig, step_pod, store_access
from shipway.context import STORE
from shipway.errors import InvalidSpec, UserError
from shipway.remote.settings import KUBE_PROXY, Settings

if TYPE_CHECKING:
    from shipway.executors.kubernetes.api import Api
    from shipway.remote.submit import Target

INSIDE = "KUBERNETES_SERVICE_HOST"
PATIENCE_S = 5.0


def check_secrets(settings: Settings, target: Target) -> tuple[str, ...]:
    """Looks at each Secret that the steps need.

    Args:
        settings: The Kubeflow that will run them.
        target: The version.

    Returns:
        A line for what could not be looked at.

    Raises:
        InvalidSpec: one is missing, lacks keys, or is refused by the store it names.
    """
    wanted = step_pod.required_keys(target.documents)
    if not wanted:
        return ()
    namespace = settings.namespace or settings.install
    names = f"Secret {', '.join(wanted)} in {namespace} was not looked at"
    if not kubeconfig.leads_to_a_cluster():
        return (f"{names}: there is no kubeconfig here",)
    from shipway.executors.kubernetes.api import Api, ApiError

    try:
        api = Api(patience_s=PATIENCE_S)
        if not _is_same(api, settings, target):
            return (f"{names}: the kubeconfig's cluster may be another than that of {settings.url}",)
        for name, keys in wanted.items():
            secret_there = api.find(f"/api/v1/namespaces/{namespace}/secrets/{name}")
            _judge(namespace, name, keys, secret_there, _variables(target.documents, name))
    except ApiError as error:
        return (f"{names}: {error.status or 'no answer'} {error.message}",)
    except InvalidSpec:
        raise
    except UserError as error:
        return (f"{names}: {error}",)
    return ()


def _judge(
    namespace: str, name: str, keys: list[str], secret_there: Mapping[str, Any] | None, variables: Mapping[str, str]
) -> None:
    """Refuses a Secret by which the steps could not start, or not reach the store."""
    where = f"Secret {name} in namespace {namespace}"
    if secret_there is None:
        command = store_access.create_command(namespace, name, keys)
        raise InvalidSpec(f"there is none, and steps take {', '.join(keys)} from it; {command}", field=where)
    data = store_access.contents(secret_there)
    lacks = [key for key in keys if key not in data]
    if lacks:
        command = store_access.patch_command(namespace, name, lacks)
        raise InvalidSpec(f"without {', '.join(lacks)}, which steps take from it; {command}", field=where)
    values = {variable: data[key] for variable, key in variables.items() if key in data}
    refused = store_access.refusal(values) if STORE in values else None
    if refused is not None:
        wrong = [variables[each] for each in store_access.wrong_keys(refused) if each in variables]
        command = store_access.patch_command(namespace, name, wrong)
        told = " ".join(str(refused).split())
        raise InvalidSpec(f"the store refuses its {', '.join(wrong)} ({told}); {command}", field=where)


def _variables(documents: Sequence[Mapping[str, Any]], secret: str) -> dict[str, str]:
    """Variable -> key of the Secret, in the first step that takes the store from it."""
    for executor in step_pod.executors(documents):
        variables = step_pod.taken(documents, executor, secret)
        if STORE in variables:
            return variables
    return {}


def _is_same(api: Api, settings: Settings, target: Target) -> bool:
    """Whether the cluster that is asked is the one in which this Kubeflow runs.

    It is where this Kubeflow was reached through it, or as a Service from within; else its own Kubeflow Pipelines must
    know the version that is about to run.
    """
    from shipway.executors.kubernetes.api import ApiError

    host = urlsplit(settings.url).hostname or ""
    if settings.url.startswith(api.host) or (INSIDE in os.environ and host.endswith((".svc", ".svc.cluster.local"))):
        return True
    proxy = KUBE_PROXY.format(server="", namespace=settings.install)
    path = f"{proxy}/apis/v2beta1/pipelines/{target.pipeline_id}/versions/{target.version_id}"
    try:
        run_there = api.find(path)
    except ApiError:
        return False
    return (run_there or {}).get("pipeline_version_id") == target.version_id
