"""What a model is, and what its variants are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import FileRef, ModelManifest, Parity, Speed, Variant
from shipway.errors import CorruptArtifact
from tests.fixtures import toy

SPEED = Speed(load_ms=1.0, p50_ms=0.1, p99_ms=0.2, rows_per_s=1000.0, threads=1)
FAR = Parity(max_abs_diff=0.5, agreement=0.1, rows=9, passed=False, tolerance=1e-5)


def file(path: str, digit: str = "0", size: int = 1) -> FileRef:
    return FileRef(path=path, size_bytes=size, sha256=digit * 64)


SAVED = toy.variant("saved_model", "saved_model", file("saved_model/a"), file("saved_model/b", "1"))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelManifest:
    root = tmp_path_factory.mktemp("model")
    train = toy.rows(30)
    return toy.write_model(root / "model", toy.write_dataset(root / "dataset", {"train": train}), train)


@pytest.mark.parametrize(
    "change",
    [
        {"variants": [toy.variant("onnx", "model.onnx", file("model.onnx", "7"))]},
        {"variants": [SAVED], "serving": "saved_model"},
        {"uri": "s3://b/elsewhere", "job": "another", "created_at": "later"},
    ],
)
def test_what_is_made_of_a_model_and_where_it_lies_is_not_its_identity(
    model: ModelManifest, change: dict[str, Any]
) -> None:
    assert model.model_copy(update=change).digest == model.digest


@pytest.mark.parametrize("field", ["weights", "encoder", "task", "params", "dataset_fingerprint", "constants"])
def test_what_was_trained_on_what_is_its_identity(model: ModelManifest, field: str) -> None:
    others = {"encoder": file("encoder.json"), "params": {"flip": 1}, "constants": {"temperature": 2.0}}
    assert model.model_copy(update={field: others.get(field, "2" * 64)}).digest != model.digest


def test_what_was_measured_of_a_variant_is_not_what_it_is() -> None:
    measured = SAVED.model_copy(update={"speed": SPEED, "parity": FAR, "files": SAVED.files[::-1]})
    assert measured.digest == SAVED.digest
    assert len(SAVED.digest) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"name": "mine"},
        {"format": "onnx"},
        {"tolerance": 1.0},
        {"path": "saved"},
        {"files": [SAVED.files[0], file("saved_model/b", "2")]},
        {"of_a_later_version": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_variants_name_format_files_and_tolerance_are_what_it_is(change: dict[str, Any]) -> None:
    document = {**SAVED.model_dump(mode="json"), **change}
    assert Variant.model_construct(**{**dict(SAVED), **change}).digest != SAVED.digest
    if "path" not in change:
        assert Variant.model_validate(document).digest != SAVED.digest


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"serving": "int8"}, "serving 'int8' of the variants onnx"),
        ({"twice": True}, "expected one, each once"),
        ({"parity": FAR}, "variant onnx failed its parity check"),
        ({"path": "other.onnx"}, r"model\.onnx lies outside of other\.onnx"),
        ({"path": "../model.onnx"}, "escapes its root"),
        ({"files": []}, "at least 1 item"),
    ],
)
def test_a_manifest_that_serves_what_it_may_not_is_refused(
    model: ModelManifest, change: dict[str, Any], why: str
) -> None:
    served = model.served.model_copy(update=change)
    variants = [served, served] if "twice" in change else [served]
    edited = model.model_copy(update={"variants": variants, **({"serving": "int8"} if "serving" in change else {})})
    with pytest.raises(CorruptArtifact, match=why):
        ModelManifest.from_json(edited.to_json())


def test_a_format_that_this_version_cannot_run_is_read_and_not_opened(model: ModelManifest) -> None:
    from shipway.scoring import ModelSession

    later = model.served.model_copy(update={"format": "litert"})
    read = ModelManifest.from_json(model.model_copy(update={"variants": [later]}).to_json())
    folder = Path(model.uri.removeprefix("file://"))
    with pytest.raises(CorruptArtifact, match=r"variant onnx has the format 'litert'; this Shipway runs onnx, saved_m"):
        ModelSession.open(read, folder)
