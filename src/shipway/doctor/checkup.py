"""What each check of a cluster is given, and gives."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from shipway.doctor import Finding

PIPELINE = "train_and_deploy"
ACCOUNTS = ("pipeline-runner", "default-editor")  # that steps run as: KFP standalone's, a profile's


@dataclass
class Checkup:
    """One examination.

    Attributes:
        api: The connection (`shipway.executors.kubernetes.api.Api`).
        namespace: Where steps run.
        account: ServiceAccount that steps run as; empty: the one of KFP's that is there.
        image: Of the pods that look for storage; empty: the compiled pipeline's.
        pipeline: Whose steps are tried.
        gpus: That one replica will ask for.
        user: Who we are, once the API server has said so.
    """

    api: Any
    namespace: str
    account: str = ""
    image: str = ""
    gpus: int = 0
    pipeline: str = PIPELINE
    user: str = ""
    kfp: str = ""  # namespace of Kubeflow Pipelines; empty for none
    documents: list[dict[str, Any]] = field(default_factory=list)  # IR and platform spec of the pipeline
    executor: str = ""  # the one of its executors that is tried
    secrets: dict[str, list[str]] = field(default_factory=dict)  # that its steps take: name -> keys they need
    store_secret: str = "shipway-store"
    replica_secret: str = ""  # of replicas, where they have one of their own
    kinds: dict[str, str] = field(default_factory=dict)  # plural -> version that is used
    can_start: bool = True  # nothing that a pod needs was found missing

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    @property
    def steps(self) -> str:
        """The account's name in full, for an access review."""
        return f"system:serviceaccount:{self.namespace}:{self.account or ACCOUNTS[0]}"

    @property
    def probed(self) -> str:
        """The image of pods that are not a step's."""
        from shipway import images, step_pod

        return self.image or (
            step_pod.executors(self.documents)[self.executor]["image"] if self.executor else images.LAUNCHER
        )

    @property
    def install(self) -> str:
        """The command that installs what stands in `base` here; the label leaves a Secret and quotas as they are."""
        ours = "-l app.kubernetes.io/part-of=shipway"
        account = self.account or ACCOUNTS[0]
        if (self.namespace, account) == ("kubeflow", ACCOUNTS[0]):
            return f"kubectl apply -k manifests/overlays/standalone {ours}"
        named = f"sed 's/team-a/{self.namespace}/g; s/default-editor/{account}/g'"
        return f"kubectl kustomize manifests/overlays/kubeflow | {named} | kubectl apply {ours} -f -"


Check = Callable[[Checkup], Iterable[Finding]]
