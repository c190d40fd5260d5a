"""What Kubernetes and Kubeflow put into a step's pod."""

from __future__ import annotations

from pathlib import Path

KFP_POD = "KFP_POD_NAME"  # environment variable: the pod's own name
SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def namespace() -> str:
    """The namespace of the pod that this process runs in; empty outside of a cluster."""
    try:
        return SERVICE_ACCOUNT_NAMESPACE.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
