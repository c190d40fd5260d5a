"""Artifacts: what was written is read, by older and newer readers, and nothing escapes its root."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from shipway import artifacts
from shipway.artifacts import (
    Artifact,
    DatasetManifest,
    DecisionRecord,
    EvaluationRecord,
    FeatureSpec,
    FileRef,
    ModelManifest,
    RelativePath,
    RunRecord,
    Shard,
    SplitManifest,
    StepError,
    StepRecord,
    SweepRecord,
    TrialRecord,
    Uri,
    Variant,
)
from shipway.errors import CorruptArtifact
from shipway.storage import read_artifact, write_artifact

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
name = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
path = st.lists(name, min_size=1, max_size=3).map("/".join)
uri = st.builds(lambda bucket, key: f"s3://{bucket}/{key}", name, path)
sha256 = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
number = st.floats(allow_nan=False, allow_infinity=False)
count = st.integers(0, 10**12)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
facts = st.dictionaries(text, plain, max_size=3)
file = st.builds(FileRef, path=path, size_bytes=count, sha256=sha256)
shard = st.builds(Shard, path=path, size_bytes=count, sha256=sha256, rows=count)
feature = st.builds(
    FeatureSpec, dtype=st.sampled_from(["int64", "float32", "bytes"]), shape=st.lists(st.none() | count, max_size=2)
)
split = st.builds(
    SplitManifest,
    rows=count,
    groups=count,
    class_counts=st.dictionaries(text, count, max_size=3),
    shards=st.lists(shard, max_size=2),
    row_files=st.lists(shard, max_size=2),
    group_hashes=st.none() | file,
)
dataset = st.builds(
    DatasetManifest,
    name=name,
    uri=uri,
    fingerprint=sha256,
    recipe=name,
    recipe_params=facts,
    labels=st.lists(text, max_size=4),
    features=st.dictionaries(name, feature, max_size=2),
    splits=st.dictionaries(st.sampled_from(artifacts.SPLITS), split, max_size=3),
    encoder=file,
    encoder_sha256=sha256,
    leakage=st.dictionaries(name, number, max_size=2),
    statistics=facts,
)
variant = st.builds(
    lambda one, **fields: Variant(name="a", path=one.path, files=[one], **fields), file, format=name, tolerance=number
)
model = st.builds(
    lambda served, **fields: ModelManifest(variants=[served], serving=served.name, **fields),
    variant,
    name=name,
    uri=uri,
    recipe=name,
    params=facts,
    labels=st.lists(text, max_size=4),
    inputs=st.dictionaries(name, feature, max_size=2),
    outputs=st.just({}),
    encoder=file,
    weights=sha256,
    dataset_uri=uri,
    dataset_fingerprint=sha256,
    job=name,
    strategy=name,
    workers=count,
    steps=count,
    epochs=number,
    metrics=st.dictionaries(name, number, max_size=2),
)
step = st.builds(
    StepRecord,
    run=name,
    task=name,
    state=st.sampled_from(["Running", "Succeeded", "Failed", "Cancelled", "Cached", "Skipped"]),
    seconds=number,
    error=st.none() | st.builds(StepError, kind=name, message=text, last_lines=st.lists(text, max_size=2)),
    outputs=facts,
)
run = st.builds(
    RunRecord,
    run=name,
    pipeline=name,
    state=st.sampled_from(["Running", "Succeeded"]),
    params=facts,
    steps=st.lists(step, max_size=2),
)
sweep = st.builds(
    SweepRecord,
    name=name,
    objective=name,
    direction=st.sampled_from(["maximize", "minimize"]),
    algorithm=name,
    best_params=facts,
    trials=st.lists(
        st.builds(
            TrialRecord,
            number=count,
            state=st.sampled_from(["Succeeded", "Failed", "EarlyStopped"]),
            params=facts,
            history=st.lists(st.lists(number, min_size=2, max_size=2), max_size=2),
        ),
        max_size=2,
    ),
)
anything = st.one_of(dataset, model, step, run, sweep)


def a_step(**more: object) -> dict[str, Any]:
    document = json.loads(StepRecord(run="r", task="t", state="Running").to_json())
    return {**document, **more}


@settings(max_examples=40, deadline=None)
@given(anything)
def test_what_was_written_is_read(artifact: Artifact) -> None:
    assert type(artifact).from_json(artifact.to_json()) == artifact
    assert type(artifact).from_json(artifact.to_json()).to_json() == artifact.to_json()


@settings(max_examples=40, deadline=None)
@given(facts)
def test_fields_of_the_future_are_kept(future: dict[str, object]) -> None:
    unknown = {f"future {key}": value for key, value in future.items()}
    error = {"kind": "X", "message": "m", **unknown}
    found = StepRecord.from_json(json.dumps(a_step(schema_version="1.99", error=error, **unknown)))
    again = json.loads(found.to_json())
    assert again["schema_version"] == "1.99"
    for key, value in unknown.items():
        assert again[key] == value
        assert again["error"][key] == value


def test_a_newer_major_version_is_refused_with_what_to_do() -> None:
    with pytest.raises(CorruptArtifact, match=r"x.json: StepRecord of schema version 2.0.*up to 1.0; upgrade shipway"):
        StepRecord.from_json(json.dumps(a_step(schema_version="2.0")), where="x.json")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ("not json", "not a JSON document"),
        ("[]", "expected a StepRecord, got 'list'"),
        ("{}", "expected a StepRecord, got None"),
        (json.dumps(a_step(kind="RunRecord")), "expected a StepRecord, got 'RunRecord'"),
        (json.dumps(a_step(schema_version="one")), "'one' is not 'major.minor'"),
        (json.dumps(a_step(state="Confused")), r"StepRecord.state: Input should be"),
        (
            json.dumps({key: value for key, value in a_step().items() if key != "run"}),
            r"StepRecord.run: Field required",
        ),
    ],
)
def test_what_is_no_step_record_is_said_in_one_line(document: str, says: str) -> None:
    with pytest.raises(CorruptArtifact, match=says) as raised:
        StepRecord.from_json(document, where="x.json")
    assert str(raised.value).startswith("x.json: ")
    assert "\n" not in str(raised.value)


class Paths(BaseModel):
    path: RelativePath


class Uris(BaseModel):
    uri: Uri


@pytest.mark.parametrize(
    "given", ["", "/etc/passwd", "../x", "a/../../x", "a/../b", "a//b", "a/", "./a", ".", "..", "a\\b", "a\0b", "a/.."]
)
def test_a_path_that_escapes_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="path"):
        Paths(path=given)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "models/x",
        "http://host/x",
        "s3://bucket/x?endpoint=http://evil",
        "s3://bucket/x#y",
        "s3://key:secret@bucket/x",
        "s3://bucket/../other",
        "file:///data/../etc/passwd",
        "s3:/bucket",
        "s3://bucket/a\nb",
    ],
)
def test_a_uri_that_redirects_or_escapes_is_refused(given: str) -> None:
    with pytest.raises(ValidationError, match="URI"):
        Uris(uri=given)


@given(st.lists(text, min_size=1, max_size=4).map("/".join))
def test_no_path_that_is_accepted_leaves_its_root(given: str) -> None:
    try:
        accepted = Paths(path=given).path
    except ValidationError:
        return
    root = Path("/root/of/it")
    assert Path(root, accepted).resolve().is_relative_to(root)


def test_a_manifest_that_vanished_names_the_flag_to_run_again(tmp_path: Path, local_store_uri: str) -> None:
    with pytest.raises(CorruptArtifact, match="the StepRecord is gone; run again with --fresh"):
        StepRecord.read(tmp_path / "nothing.json")
    with pytest.raises(CorruptArtifact, match="the StepRecord is gone; run again with --fresh"):
        read_artifact(StepRecord, f"{local_store_uri}/nothing")


@pytest.mark.parametrize("place", ["jobs/x", "jobs/x/", "jobs/x/record.json"])
def test_an_artifact_is_an_object_or_a_folders_manifest(local_store_uri: str, place: str) -> None:
    record = StepRecord(run="r", task="t", state="Running", outputs={"ä": [1, 2.5, None]})
    write_artifact(record, f"{local_store_uri}/{place}")
    assert read_artifact(StepRecord, f"{local_store_uri}/{place}") == record


def test_every_kind_names_itself() -> None:
    kinds = [DatasetManifest, ModelManifest, EvaluationRecord, DecisionRecord, SweepRecord, StepRecord, RunRecord]
    assert [kind.KIND for kind in kinds] == [kind.__name__ for kind in kinds]
