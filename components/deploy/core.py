"""An endpoint as an InferenceService, and what "serves the model that was evaluated" means in numbers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from shipway import images, labels, podsecurity
from shipway.canonical import canonical_json, fingerprint
from shipway.code.given import GIVEN
from shipway.components.deploy.spec import EndpointSpec
from shipway.inputs.base import Input
from shipway.recipes.arrays import Columns, part
from shipway.tasks.base import Answers
from shipway.tasks.model_answers import ModelAnswers

PORT = 8080
PRE_STOP_S = 5  # until every node has heard that the pod takes no more connections
LOCAL_PORT = f"{labels.PREFIX}/local-port"
VERSION = f"{labels.PREFIX}/version"
DIGEST = f"{labels.PREFIX}/model-digest"
SHOWN_CHARS = 200


def inference_service(
    spec: EndpointSpec,
    *,
    endpoint: str,
    version: int,
    model_uri: str,
    model_digest: str,
    variant_digest: str,
    recipe: str,
    code: str = "",
    answers: Mapping[str, Any],
    store_uri: str,
    run: str,
    namespace: str,
) -> dict[str, Any]:
    """The InferenceService (serving.kserve.io/v1beta1) that serves one version.

    Args:
        spec: The endpoint.
        endpoint: `spec.name`, or its candidate's name; models keep their name in the URL.
        version: In the registry, told in every answer.
        model_uri: Folder of the model's files and `manifest.json`.
        model_digest: That the model there must have.
        variant_digest: That the variant it serves must have.
        recipe: Of the registered version; the predictor loads it besides the shipped ones, and no other.
        code: That the recipe is in, `ADDRESS#sha256=HASH`, as a person named it; empty: it is in the image.
        answers: Settings of the answers, the task's `Settings`: the spec's over what evaluation found.
        store_uri: Root of the store, without endpoint or credential.
        run: That deploys it; a label, no part of the hash that decides adoption.
        namespace: Of the object.
    """
    arguments = {
        "model_name": spec.name,
        "model_uri": model_uri,
        "model_digest": model_digest,
        "variant_digest": variant_digest,
        "model_version": version,
        "answers": canonical_json(answers),
        "input": canonical_json(spec.input),
        "max_instances": spec.max_instances,
        "threads": max(1, math.floor(_cores(spec.resources.cpu))),
        "grace_s": spec.grace_s,
        "http_port": PORT,
    }
    quantities = {"cpu": spec.resources.cpu, "memory": spec.resources.memory}
    container: dict[str, Any] = {
        "name": "kserve-container",
        "image": spec.image or images.PREDICTOR,
        "command": ["python", "-m", "shipway.components.predict.worker"],
        "args": [f"--{name}={value}" for name, value in arguments.items()],
        "env": [
            {"name": "SHIPWAY_STORE", "value": store_uri},
            {"name": "SHIPWAY_BIND", "value": "0.0.0.0"},
            {"name": "SHIPWAY_RECIPES", "value": recipe},
            *([{"name": GIVEN, "value": code}] if code else []),
        ],
        "ports": [{"name": "http1", "containerPort": PORT, "protocol": "TCP"}],
        "resources": {"requests": quantities, "limits": dict(quantities)},
        "readinessProbe": _probe(f"/v2/models/{spec.name}/ready", 5, 3),
        "livenessProbe": _probe("/v2/health/live", 10, 6),
        "startupProbe": _probe(f"/v2/models/{spec.name}/ready", 2, math.ceil(spec.deadline_s / 2)),
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", str(PRE_STOP_S)]}}},
    }
    if spec.store_secret:
        container["envFrom"] = [{"secretRef": {"name": spec.store_secret}}]
    predictor: dict[str, Any] = {
        "minReplicas": spec.replicas,
        "maxReplicas": spec.replicas,
        "terminationGracePeriodSeconds": spec.grace_s + PRE_STOP_S,
        "containers": [container],
    }
    podsecurity.secure(predictor, spec.pod_security, is_our_image=not spec.image)
    if spec.service_account:
        predictor["serviceAccountName"] = spec.service_account
    if spec.node_selector:
        predictor["nodeSelector"] = dict(spec.node_selector)
    annotations = {
        "serving.kserve.io/deploymentMode": spec.deployment_mode,
        VERSION: str(version),
        DIGEST: model_digest,
    }
    if spec.port is not None and endpoint == spec.name:
        annotations[LOCAL_PORT] = str(spec.port)
    annotations[labels.SPEC_HASH] = fingerprint([predictor, annotations])
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": endpoint,
            "namespace": namespace,
            "labels": labels.common(spec.name, run, "deploy"),
            "annotations": annotations,
        },
        "spec": {"predictor": predictor},
    }


def predict_url(url: str, name: str, protocol: str) -> str:
    """Where predictions are asked for, below an endpoint's base URL."""
    base = url.rstrip("/")
    return f"{base}/v2/models/{name}/infer" if protocol == "v2" else f"{base}/v1/models/{name}:predict"


def example_body(kind: Input, instance: Any, protocol: str) -> dict[str, Any]:
    """A request that a person may copy."""
    if protocol == "v1":
        return {"instances": [instance]}
    name, datatype, shape = kind.tensor
    if isinstance(instance, dict):
        instance = json.dumps(instance, ensure_ascii=False) if datatype == "BYTES" else "..."
    return {"inputs": [{"name": name, "datatype": datatype, "shape": [1, *shape[1:]], "data": [instance]}]}


def _probe(path: str, period_s: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _cores(quantity: str) -> float:
    """Cores of a Kubernetes quantity, `500m` or `2`."""
    return float(quantity[:-1]) / 1000 if quantity.endswith("m") else float(quantity.rstrip("kMGTPi"))


@dataclass(frozen=True)
class Kept:
    """Rows that evaluation kept: what to ask, and what to expect.

    Attributes:
        kind: The model's input.
        answers: Whose predictions they are.
        settings: Of the answers, the task's `Settings`; for what a person reads of them.
        instances: JSON, one a row.
        previews: What a person sees of each row.
        columns: The kept predictions.
    """

    kind: Input
    answers: ModelAnswers
    settings: BaseModel
    instances: list[Any]
    previews: list[str]
    columns: Columns


@dataclass(frozen=True)
class RowDifference:
    """One row that the endpoint answers otherwise than evaluation kept."""

    row: int  # position among the rows that were sent
    preview: str
    expected: str
    got: str
    max_abs_diff: float


@dataclass(frozen=True)
class CheckResult:
    """How an endpoint's answers compare with evaluation's.

    Attributes:
        rows: That were sent.
        max_abs_diff: Largest difference of a number.
        tolerance: That was allowed.
        agreement: Share of rows with the same answer.
        differences: The rows that differ too much.
        latencies_ms: Of requests with one instance each.
    """

    rows: int
    max_abs_diff: float
    tolerance: float
    agreement: float
    differences: list[RowDifference] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.differences

    def latency_ms(self, quantile: float) -> float:
        return float(np.quantile(self.latencies_ms, quantile)) if self.latencies_ms else math.nan

    @property
    def reason(self) -> str:
        """One line: which row, what was expected, what came."""
        if self.passed:
            return f"{self.rows} rows within {self.tolerance:g} (largest difference {self.max_abs_diff:.2g})"
        first = self.differences[0]
        return (
            f"row {first.row} {first.preview[:80]!r}: expected {first.expected}; got {first.got} "
            f"(difference {first.max_abs_diff:.2g}, allowed {self.tolerance:g}; "
            f"{len(self.differences)} of {self.rows} rows differ)"
        )


def compare(kept: Kept, served: Sequence[Any], tolerance: float, latencies_ms: Sequence[float] = ()) -> CheckResult:
    """Compares served answers with kept predictions, as their task compares them.

    Args:
        kept: The rows.
        served: The endpoint's JSON answers to all of them, with the task's `Answers.everything`.
        tolerance: Largest difference of a number that is allowed.
        latencies_ms: Kept with the result.
    """
    answers, everything = kept.answers, kept.answers.answers.everything()
    documents = [answer if isinstance(answer, dict) else {} for answer in served]
    gaps, agrees = answers.differences(kept.columns, documents, tolerance)
    differences = []
    for i in np.flatnonzero(~(gaps <= tolerance) | ~agrees).tolist():
        [expected] = answers.documents(part(kept.columns, i, i + 1), everything, kept.settings)
        differences.append(
            RowDifference(
                row=i,
                preview=kept.previews[i],
                expected=_told(answers.answers, expected),
                got=_told(answers.answers, served[i]),
                max_abs_diff=float(gaps[i]),
            )
        )
    return CheckResult(
        rows=len(served),
        max_abs_diff=float(gaps.max(initial=0.0)),
        tolerance=tolerance,
        agreement=float(agrees.mean()) if len(agrees) else 1.0,
        differences=differences,
        latencies_ms=list(latencies_ms),
    )


def _told(answers: Answers, answer: Any) -> str:
    """An answer as a person reads it in a line: its cells under their headings; JSON where the task cannot read it."""
    try:
        cells = zip(answers.headings, answers.line(answer), strict=True)
        return ", ".join(f"{heading} {cell}" for heading, cell in cells if cell)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return json.dumps(answer, default=str)[:SHOWN_CHARS]


def chosen_rows(total: int, wanted: int) -> NDArray[np.int64]:
    """Positions of `wanted` rows spread evenly over `total`, always the same ones."""
    return np.unique(np.linspace(0, total - 1, min(wanted, total)).round().astype(np.int64)) if total else np.array([])
