"""Who the pods are that we launch: an account of their own, without a token, since none of them asks the API server."""

from __future__ import annotations

from typing import Any

from shipway.executors.kubernetes.kinds import Kind

# ServiceAccounts of manifests/base.
REPLICA, PREDICTOR = "shipway-replica", "shipway-predictor"


def give_account(pod: dict[str, Any], account: str) -> None:
    """Names a pod's account where its manifest names none, and keeps the account's token out of it, in place.

    Args:
        pod: A pod spec, or a predictor, which holds one.
    """
    if not (pod.get("serviceAccountName") or pod.get("serviceAccount")):
        pod["serviceAccountName"] = account
    pod.setdefault("automountServiceAccountToken", False)


def needs_token(kind: Kind, role: str) -> bool:
    """Whether a replica asks the API server: the launcher of an MPIJob v1 alone, which starts ranks by `kubectl exec`.

    The training operator makes an account and a Role for it, for its own workers' pods and nothing else.
    """
    return role == "launcher" and kind.name == "MPIJob" and kind.api_version == "kubeflow.org/v1"
