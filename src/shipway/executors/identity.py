"""The one place that decides names: of runs, of jobs and of their attempts.

A name is a pure function of what the work is, so that whoever types the same command again, or retries the same step,
finds the job that is already there instead of starting a second one.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from shipway import labels
from shipway.errors import InvalidSpec
from shipway.executors.base import Handle, Manifest

JOB_NAME_MAX = 40  # a Katib Experiment's limit; with `-worker-999` behind it a pod's name stays below 63
BASE_NAME_MAX = JOB_NAME_MAX - len("-r999")
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
MODEL_NAME_MAX = 40  # with what is made from it (`-candidate-predictor`) below 63, where Kubernetes' names end
MODEL_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
CANDIDATE = "-candidate"
# What we, KServe and the training operators put behind a name: a model called so would meet what is made for another.
RESERVED_ENDS = (CANDIDATE, "-predictor", "-transformer", "-explainer")
_REPLICA = re.compile(r".*-(chief|master|worker|ps|evaluator|launcher)-\d+")
RESERVED_START = "shipway-"
CHECK = "shipway-check"  # what `plan` has the cluster judge
_ATTEMPT = re.compile(r"(?P<base>.+)-r(?P<attempt>[1-9]\d{0,2})")


def check_model_name(name: Any, where: str = "name") -> str:
    """The name, if a model may have it: one rule for all that is named after the model, so that no name that we make
    for one model can be another's.

    Raises:
        InvalidSpec: says what is allowed, and the nearest name that is.
    """
    if isinstance(name, str) and len(name) <= MODEL_NAME_MAX and MODEL_NAME.fullmatch(name):
        reserved = reserved_name(name)
        if not reserved:
            return name
        raise InvalidSpec(
            f"{name!r} {reserved}, which is reserved for what is made beside a model",
            field=where,
            given=name,
            fix="choose another name",
        )
    fitting = re.sub(r"[^a-z0-9]+", "-", str(name).lower())[:MODEL_NAME_MAX].strip("-").lstrip("-0123456789")
    raise InvalidSpec(
        field=where,
        given=name,
        allowed=f"up to {MODEL_NAME_MAX} lower case letters, digits and '-', beginning with a letter and ending with a "
        "letter or digit",
        fix=f"did you mean {fitting!r}?" if fitting and not reserved_name(fitting) else "",
    )


def reserved_name(name: str) -> str:
    """Why no model may have this name; empty where one may."""
    if name.startswith(RESERVED_START):
        return f"begins with {RESERVED_START!r}"
    if end := next((end for end in RESERVED_ENDS if name.endswith(end)), ""):
        return f"ends with {end!r}"
    return "ends like a job's replica" if _REPLICA.fullmatch(name) else ""


def candidate_name(name: str) -> str:
    """The endpoint at which a model's new version is checked; no model can have this name."""
    return f"{name}{CANDIDATE}"


def slug(text: str, length: int, default: str = "x") -> str:
    """`text` as part of a DNS-1035 name: lower case letters, digits and inner dashes, at most `length` characters."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:length].strip("-")
    return cleaned or default


def job_name(name: str, run: str, task: str, iteration: str = "") -> str:
    """The name of the job that a task of a run starts.

    Args:
        name: The model's name; the readable first part.
        run: The run's key: equal over retries of a step, and when a killed run is typed again.
        task: The task within the run, `train`.
        iteration: Tells apart what one task starts several times: a trial's number, a loop's item.

    Returns:
        A DNS-1035 name of at most 35 characters, so that an attempt's suffix fits in 40.
    """
    digest = _digest({"iteration": iteration, "name": name, "run": run, "task": task}, 10)
    readable = f"{slug(name, 12)}-{slug(task, 10)}"
    if not readable[0].isalpha():
        readable = f"j{readable}"[:23]
    return f"{readable}-{digest}"


def run_key(pipeline: str, params: Mapping[str, Any], fingerprints: Mapping[str, str] | None = None) -> str:
    """The key of a local run: the same pipeline, validated parameters and fingerprints give the same run again.

    Args:
        pipeline: The pipeline's name.
        params: Validated parameters; a raw dict from KFP (all numbers floats) would give another key.
        fingerprints: Of the data and of the code.
    """
    digest = _digest({"fingerprints": dict(fingerprints or {}), "params": dict(params), "pipeline": pipeline}, 12)
    return f"{slug(pipeline, 30)}-{digest}"


def attempt_name(base: str, attempt: int) -> str:
    """`base` for the first attempt, `base-r1` for the next."""
    return base if attempt == 0 else f"{base}-r{attempt}"


def base_name(manifest: Manifest) -> str:
    """The job's name, checked as the operator's webhook does.

    Raises:
        InvalidSpec: not a DNS-1035 label, or too long for an attempt's suffix.
    """
    if not isinstance(manifest, dict):
        raise InvalidSpec(field="manifest", given=manifest, allowed="a mapping")
    metadata = manifest.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(name, str) or not DNS_1035.fullmatch(name) or len(name) > 57:
        raise InvalidSpec(
            f"{name!r} is not a DNS-1035 label of at most 57 characters: lower case letters, digits "
            "and dashes, beginning with a letter, ending with a letter or digit",
            field="metadata.name",
            given=name,
        )
    return name


def split_attempt(name: str) -> tuple[str, int]:
    """The base name and number of an attempt's name; checkpoints lie under the base name."""
    match = _ATTEMPT.fullmatch(name)
    return (match["base"], int(match["attempt"])) if match else (name, 0)


def attempt_of(handle: Handle) -> tuple[str, int]:
    """Base name and number of a handle's attempt: `resnet-r50` may be an attempt, or a job's whole name."""
    if not handle.base:
        return split_attempt(handle.name)
    return (handle.base, 0) if handle.base == handle.name else split_attempt(handle.name)


def spec_hash(manifest: Manifest) -> str:
    """sha256 over what the manifest asks for: apiVersion, kind and spec, not labels or the name."""
    return _digest({key: manifest.get(key) for key in ("apiVersion", "kind", "spec")}, 64)


def stamp(manifest: Manifest, *, name: str, run: str, task: str, job: str = "", namespace: str = "") -> Manifest:
    """A copy of the manifest with our labels, the spec hash, and (when given) its name and namespace.

    Args:
        manifest: A custom resource.
        name: The model's name.
        run: The run's key.
        task: The task of that run.
        job: The object's name; what the manifest says where empty.
        namespace: Likewise.
    """
    stamped = copy.deepcopy(manifest)
    metadata = stamped.setdefault("metadata", {})
    if job:
        metadata["name"] = job
    if namespace:
        metadata["namespace"] = namespace
    ours = {key: _label(value) for key, value in labels.common(name, run, task).items()}
    metadata["labels"] = {**(metadata.get("labels") or {}), **ours}
    metadata["annotations"] = {**(metadata.get("annotations") or {}), labels.SPEC_HASH: spec_hash(manifest)}
    return stamped


def _label(value: str) -> str:
    """A valid label value: at most 63 of [A-Za-z0-9._-], alphanumeric at both ends."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", value)[:63].strip("-._")


def _digest(document: Mapping[str, Any], length: int) -> str:
    from shipway.canonical import fingerprint  # pydantic: the supervisor, which imports this package, never needs it

    return fingerprint(document, length)
