"""The kinds that the executor plays, and where their parts lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shipway.errors import InvalidSpec
from shipway.executors.base import Manifest


@dataclass(frozen=True)
class Kind:
    """A kind of custom resource.

    Attributes:
        replicas: Field of the spec that maps roles to replicas; empty where there is one pod template.
        suspend: Path of the field that suspends; empty: it cannot be suspended.
    """

    api_version: str
    name: str
    plural: str
    replicas: str = ""
    suspend: tuple[str, ...] = ()

    def path(self, namespace: str, name: str = "") -> str:
        """URL path of the collection, or of one object."""
        root = "/api" if "/" not in self.api_version else "/apis"
        tail = f"/{name}" if name else ""
        return f"{root}/{self.api_version}/namespaces/{namespace}/{self.plural}{tail}"


_POLICY = ("spec", "runPolicy", "suspend")
KINDS = {
    (kind.api_version, kind.name): kind
    for kind in (
        Kind("kubeflow.org/v1", "TFJob", "tfjobs", "tfReplicaSpecs", _POLICY),
        Kind("kubeflow.org/v1", "MPIJob", "mpijobs", "mpiReplicaSpecs", _POLICY),
        Kind("kubeflow.org/v2beta1", "MPIJob", "mpijobs", "mpiReplicaSpecs", _POLICY),
        Kind("batch/v1", "Job", "jobs", "", ("spec", "suspend")),
        Kind("kubeflow.org/v1beta1", "Experiment", "experiments"),
        Kind("serving.kserve.io/v1beta1", "InferenceService", "inferenceservices"),
    )
}
SERVICE = "InferenceService"
PODS = Kind("v1", "Pod", "pods")


def kind_of(manifest: Manifest) -> Kind:
    """The kind of a manifest.

    Raises:
        InvalidSpec: names what is allowed.
    """
    if not isinstance(manifest, dict):
        raise InvalidSpec(
            field="manifest", given=manifest, allowed="a mapping with apiVersion, kind, metadata and spec"
        )
    asked = (str(manifest.get("apiVersion")), str(manifest.get("kind")))
    if asked not in KINDS:
        allowed = [f"{version} {name}" for version, name in KINDS]
        raise InvalidSpec("cannot be played:", field="apiVersion, kind", given=" ".join(asked), allowed=allowed)
    return KINDS[asked]


def kind_named(name: str, api_version: str = "") -> Kind:
    """The kind of a handle; of two versions the one that `api_version` says, else the first."""
    named = [kind for kind in KINDS.values() if kind.name == name]
    if not named:
        raise InvalidSpec(f"{name!r} cannot be played", field="kind", given=name)
    return next((kind for kind in named if kind.api_version == api_version), named[0])


def templates(kind: Kind, manifest: Manifest) -> Iterator[tuple[str, dict[str, Any]]]:
    """Role and pod template of each kind of replica; `pod` for a batch Job; none for a service or an Experiment."""
    spec = manifest.get("spec") or {}
    if kind.replicas:
        for role, replica in (spec.get(kind.replicas) or {}).items():
            yield role.lower(), replica.setdefault("template", {})
    elif kind.name == "Job":
        yield "pod", spec.setdefault("template", {})
