"""What a step may do in its namespace, and nothing else: the launcher's Role of manifests/ says the same."""

from __future__ import annotations

from dataclasses import dataclass

_JOB = ("create", "get", "list", "watch", "patch", "delete")


@dataclass(frozen=True)
class Permission:
    """Verbs on one resource.

    Attributes:
        resource: Plural, with its subresource: `pods/log`.
    """

    group: str
    resource: str
    verbs: tuple[str, ...]


LAUNCHER = (
    Permission("kubeflow.org", "tfjobs", _JOB),
    Permission("kubeflow.org", "mpijobs", _JOB),
    Permission("serving.kserve.io", "inferenceservices", ("create", "get", "update", "delete")),
    Permission("networking.k8s.io", "networkpolicies", ("create",)),
    Permission("policy", "poddisruptionbudgets", ("create",)),
    Permission("", "pods", ("get", "list", "watch")),
    Permission("", "pods/log", ("get",)),
    Permission("", "events", ("list",)),
    Permission("apps", "deployments", ("get",)),
    Permission("argoproj.io", "workflows", ("get",)),
)
