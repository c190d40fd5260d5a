"""The replicas of one job may speak to each other, and to no other job's.

manifests/base closes every replica but for DNS and storage. What opens it is a NetworkPolicy for each job that has
peers: a static one cannot say "pods with the same value of this label". It is owned by its job, and goes with it.
"""

from __future__ import annotations

from shipway import labels
from shipway.executors.base import Manifest
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import KINDS, Kind
from shipway.executors.kubernetes.rendering import PEERS


def let_peers_speak(api: Api, kind: Kind, job: Manifest) -> None:
    """Creates the policy of a job with several pods, where it is not there.

    Raises:
        UserError: no permission.
    """
    if not has_peers(kind, job):
        return
    made, namespace = policy(kind, job), job["metadata"]["namespace"]
    try:
        api.post(f"/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies", made)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise explain(error, f"NetworkPolicy {made['metadata']['name']}", namespace) from error


def policy(kind: Kind, job: Manifest) -> Manifest:
    """The policy for a job as the API server knows it.

    Its name holds the job's uid: the policy of a deleted job of that name, which goes in its own time, is not taken
    for this one's.
    """
    metadata = job["metadata"]
    ours = {"matchLabels": {PEERS: metadata["name"]}}
    owner = {"apiVersion": kind.api_version, "kind": kind.name, "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {
            "name": f"{metadata['name']}-{metadata['uid'][:8]}",
            "labels": {labels.MANAGED_BY: "shipway"},
            "ownerReferences": [owner],
        },
        "spec": {
            "podSelector": ours,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": [{"podSelector": ours}]}],
            "egress": [{"to": [{"podSelector": ours}]}],
        },
    }


def has_peers(kind: Kind, job: Manifest) -> bool:
    """Whether a job, or an Experiment's trial, has more than one pod."""
    if kind.name == "Experiment":
        trial = (job["spec"].get("trialTemplate") or {}).get("trialSpec") or {}
        trial_kind = KINDS.get((str(trial.get("apiVersion")), str(trial.get("kind"))))
        return trial_kind is not None and has_peers(trial_kind, trial)
    replicas = (job["spec"].get(kind.replicas) or {}) if kind.replicas else {}
    return sum(int(each.get("replicas") or 1) for each in replicas.values()) > 1
