"""Kubeflow with profiles: whether the namespace that steps run in is one, whose it is, and what KFP puts there."""

from __future__ import annotations

from collections.abc import Iterator

from shipway.doctor import Finding, kfp
from shipway.doctor.checkup import ACCOUNTS, Checkup

ENABLED = "pipelines.kubeflow.org/enabled"  # KFP's profile controller looks after namespaces with this label alone


def profile(checkup: Checkup) -> Iterator[Finding]:
    """Nothing where KFP serves one user and there are no profiles."""
    is_multi = _is_multi_user(checkup)
    existing = checkup.api.find(f"/apis/kubeflow.org/v1/profiles/{checkup.namespace}")
    if existing is None:
        if is_multi:
            text = f"{checkup.namespace} is none, and Kubeflow Pipelines runs nothing outside of one"
            yield Finding("profile", "missing", text, "kubectl get profiles; then --namespace names yours")
        return
    owner = str(((existing.get("spec") or {}).get("owner") or {}).get("name") or "nobody")
    if not checkup.kfp:
        yield Finding("profile", "ok", f"{checkup.namespace}, of {owner}")
        return
    if not is_multi:
        text = f"{checkup.namespace} is the profile of {owner}, but Kubeflow Pipelines in {checkup.kfp} serves one user"
        yield Finding("profile", "warn", f"{text}: its runs run in {checkup.kfp}",
                      f"shipway doctor --cluster --namespace {checkup.kfp}")  # fmt: skip
        return
    yield _looked_after(checkup, owner)
    if not checkup.account:
        checkup.account = ACCOUNTS[1]  # the account of runs in a profile, whatever else stands there


def _is_multi_user(checkup: Checkup) -> bool:
    """As KFP's API server is told: by a ConfigMap, whose generated name its Deployment has."""
    server = kfp.deployment(checkup, checkup.kfp, kfp.SERVER) if checkup.kfp else None
    told = kfp.variables(checkup, checkup.kfp, server) if server else {}
    return told.get("MULTIUSER", "").lower() == "true"


def _looked_after(checkup: Checkup, owner: str) -> Finding:
    namespace = checkup.api.find(f"/api/v1/namespaces/{checkup.namespace}") or {"metadata": {}}
    if (namespace["metadata"].get("labels") or {}).get(ENABLED) == "true":
        return Finding("profile", "ok", f"{checkup.namespace}, of {owner}")
    text = f"{checkup.namespace}, of {owner}, lacks the label {ENABLED}: KFP puts no kfp-launcher and no keys there"
    return Finding("profile", "warn", text, f"kubectl label namespace {checkup.namespace} {ENABLED}=true")
