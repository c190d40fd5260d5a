"""Which versions of Kubeflow's parts are there, by their images' tags, and what each lacks for us."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from shipway.doctor import Finding, State
from shipway.doctor.checkup import Checkup
from shipway.executors.kubernetes.installs import TRAINING

Version = tuple[int, int]
_TAG = re.compile(r":v?(\d+)\.(\d+)(?:\.\d+)?(?:[-+.][\w.\-]*)?$")
_UPGRADE_KFP = "https://www.kubeflow.org/docs/components/pipelines/operator-guides/installation/ has 2.17"


@dataclass(frozen=True)
class Part:
    """One program of Kubeflow's.

    Attributes:
        deployment: Its Deployment's name.
        known: Version that Shipway was run with; empty for none.
    """

    what: str
    deployment: str
    known: str


@dataclass(frozen=True)
class Fact:
    """What versions below one lack.

    Attributes:
        says: What follows for us.
        state: How bad that is; `ok` for what we do without.
    """

    deployment: str
    below: Version
    says: str
    state: State
    mend: str = ""


KFP, ARGO, OPERATOR, KSERVE, TRAINER = (
    "ml-pipeline", "workflow-controller", "training-operator", "kserve-controller-manager",
    "kubeflow-trainer-controller-manager",
)  # fmt: skip
PARTS = (
    Part("Kubeflow Pipelines", KFP, "2.17"),
    Part("Argo Workflows", ARGO, "4.0"),
    Part("training operator", OPERATOR, "1.8"),
    Part("MPI operator", "mpi-operator", "0.6"),
    Part("KServe", KSERVE, "0.15"),
    Part("Katib", "katib-controller", ""),
    Part("Trainer v2", TRAINER, ""),
)
# The gravest first: one finding a part.
FACTS = (
    Fact(KFP, (2, 15), "dsl.TaskConfig is unknown, which train and sweep take; the store is MinIO at another address",
         "missing", _UPGRADE_KFP),
    Fact(KFP, (2, 16), "its steps have no security context: where Pod Security restricted is enforced they are refused",
         "warn", _UPGRADE_KFP),
    Fact(ARGO, (3, 7), "Kubeflow Pipelines 2.17 is made for Argo 3.7 and 4.0", "warn",
         "upgrade KFP by its own manifests, which bring Argo"),
    Fact(KSERVE, (0, 20),
         "no spec.canary in Standard mode: Shipway checks a version beside the old one, then it takes over whole",
         "ok"),
)  # fmt: skip


def versions(checkup: Checkup) -> Iterator[Finding]:
    """Of each part that is installed anywhere; a version that cannot be read is said."""
    there = {each.deployment: _find(checkup, each.deployment) for each in PARTS}
    for part in PARTS:
        deployment = there[part.deployment]
        if deployment is not None:
            image = str(deployment["spec"]["template"]["spec"]["containers"][0]["image"])
            yield judge(part, image, _named(checkup, part, deployment))
    if there[TRAINER] is not None and there[OPERATOR] is None:
        text = "only Trainer v2 is here: its TrainJob has no TensorFlow runtime, and TFJobs are nobody's"
        yield Finding("training operator", "missing", text, TRAINING)


def judge(part: Part, image: str, named: str = "") -> Finding:
    """What a part's version means.

    Args:
        image: Its container's.
        named: A version that it says elsewhere, for an image without a tag that says one.
    """
    what = f"version: {part.what}"
    version = read(image) or read(f":{named}")
    if version is None:
        return Finding(what, "info", f"cannot be read from {image}; run with {part.known or 'none'}")
    text = f"{version[0]}.{version[1]}"
    for fact in FACTS:
        if fact.deployment == part.deployment and version < fact.below:
            return Finding(what, fact.state, f"{text}: {fact.says}", fact.mend)
    if not part.known:
        return Finding(what, "info", f"{text}; no version of it was run with Shipway")
    if text != part.known:
        return Finding(what, "info", f"{text}; {part.known} was run with Shipway")
    return Finding(what, "ok", text)


def read(image: str) -> Version | None:
    """Major and minor of an image's tag; None for a digest alone, `latest`, or a commit."""
    match = _TAG.search(image.partition("@")[0])
    return (int(match[1]), int(match[2])) if match else None


def _find(checkup: Checkup, name: str) -> dict[str, Any] | None:
    items = checkup.api.get("/apis/apps/v1/deployments", fieldSelector=f"metadata.name={name}")["items"]
    return next(iter(items), None)


def _named(checkup: Checkup, part: Part, deployment: dict[str, Any]) -> str:
    """KFP's manifests say its version in a ConfigMap too, whatever a mirror made of its images."""
    if part.deployment != KFP:
        return ""
    namespace = deployment["metadata"]["namespace"]
    config = checkup.api.find(f"/api/v1/namespaces/{namespace}/configmaps/pipeline-install-config")
    return str(((config or {}).get("data") or {}).get("appVersion", ""))
