"""The executor that applies manifests to a Kubernetes cluster and follows what its operators make of them."""

from __future__ import annotations

from shipway.executors.kubernetes.executor import KubernetesExecutor

__all__ = ["KubernetesExecutor"]
