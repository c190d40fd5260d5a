"""Images from object storage: prepared, trained on, evaluated, served, asked and checked, by the same pixels."""

from __future__ import annotations

import base64
import json
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from shipway.artifacts import DatasetManifest, EvaluationRecord, ModelManifest
from shipway.components.deploy.core import example_body
from shipway.components.deploy.parity import check_endpoint, kept_rows
from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.prep import data
from shipway.components.prep.make import make_dataset
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidData
from shipway.inputs import load_input
from shipway.scoring import ModelSession
from shipway.storage import Store, embedded
from shipway.storage.buckets import ensure_bucket
from shipway.storage.server import ServerInfo
from shipway.training import shards
from shipway.training.examples import Examples
from tests.fixtures import pictures
from tests.local.serving import Server, serving
from tests.local.test_endpoints import ROOT

pytestmark = [pytest.mark.heavy, pytest.mark.xdist_group("tensorflow")]

ROWS = 120
BUCKET = "pictures"
DISC, BAR = (pictures.saved(pictures.drawn(label, 5000), "JPEG") for label in ("disc", "bar"))


@dataclass
class House:
    root: Path
    store: Store
    spec: DatasetSpec
    dataset: DatasetManifest
    model: ModelManifest
    record: EvaluationRecord


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, embedded_store: ServerInfo) -> Iterator[House]:
    from shipway.training.export import publish
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    root = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in embedded.environment(embedded_store).items():
            patch.setenv(name, value)
        patch.setenv("SHIPWAY_HOME", str(root / "home"))
        patch.setenv("SHIPWAY_STORE", f"s3://{BUCKET}/store")
        patch.setenv("SHIPWAY_RECIPES", pictures.REFERENCE)
        patch.setenv("PYTHONPATH", str(ROOT))
        ensure_bucket(BUCKET)
        files = pictures.write_folder(root / "photos", ROWS)
        Store.open(f"s3://{BUCKET}").upload_folder(root / "photos", "photos")
        Store.open(f"s3://{BUCKET}").put("photos/disc/cut.jpg", DISC[:300])
        Store.open(f"s3://{BUCKET}").put("photos/notes.txt", b"beside")
        spec = DatasetSpec(
            name="shapes", data=f"s3://{BUCKET}/photos", recipe=pictures.REFERENCE, eval_fraction=0.2, test_fraction=0.2
        )
        store = Store.open()
        dataset, _ = make_dataset(spec, store)
        assert sum(part.rows for part in dataset.splits.values()) == len(files)
        fitted = fit(FitSpec(name="shapes", recipe=pictures.REFERENCE, epochs=12, batch_size=16), dataset, root)
        model = publish(fitted, root, f"s3://{BUCKET}/store/jobs/shapes", "shapes", "")
        (root / "scratch").mkdir()
        record = measure(model, dataset, EvaluationSpec(), store=store, folder=root / "scratch")
        yield House(root, store, spec, dataset, model, record)


@pytest.fixture(scope="module")
def server(house: House) -> Iterator[Server]:
    (house.root / "server").mkdir()
    limits = {"max_bytes": 20_000, "max_pixels": 1_000_000, "allow_addresses": [f"s3://{BUCKET}/photos/"]}
    with serving(house.root / "server", house.model, "pass", "--input", json.dumps(limits)) as found:
        yield found


def test_a_model_learns_from_records_that_hold_files(house: House) -> None:
    assert house.dataset.packed == pictures.PictureEncoder([]).packed
    assert house.model.inputs == house.dataset.features == pictures.PictureEncoder([]).features
    assert house.model.serving == "onnx", house.model.served.parity
    assert house.record.metrics["accuracy"] > 0.9
    assert house.dataset.quarantined_rows == 1
    reading: Any = house.dataset.statistics["reading"]
    assert list(reading["skipped"]) == ["notes.txt"]


def test_a_copy_on_a_disk_is_the_same_rows_and_another_object_is_not(house: House) -> None:
    local = house.spec.model_copy(update={"data": str(house.root / "photos")})
    made, _ = make_dataset(local, Store.open((house.root / "local").as_uri()))
    sides = [
        {split: (part.rows, part.class_counts) for split, part in dataset.splits.items()}
        for dataset in (made, house.dataset)
    ]
    assert sides[0] == sides[1]
    before = data.data_fingerprint(house.spec)
    assert before == data.data_fingerprint(house.spec)
    bucket = Store.open(f"s3://{BUCKET}")
    bucket.put("photos/disc/cut.jpg", DISC[:301])
    assert data.data_fingerprint(house.spec) != before
    bucket.put("photos/disc/cut.jpg", DISC[:300])


def test_a_table_in_object_storage_names_files_beside_it(house: House, tmp_path: Path) -> None:
    bucket = Store.open(f"s3://{BUCKET}")
    names = [info.key.removeprefix("photos/") for info in bucket.list("photos") if not info.key.endswith(".txt")]
    lines = [f"s3://{BUCKET}/photos/{name},{name.split('/')[0]}" for name in names]
    table = "\n".join(["path,label", *lines, "disc/gone.jpg,disc", f"s3://other/{names[0]},disc"]) + "\n"
    bucket.put("tables/rows.csv", table.encode())
    spec = house.spec.model_copy(
        update={"data": f"s3://{BUCKET}/tables/rows.csv", "input": {"root": f"s3://{BUCKET}/photos/"}}
    )
    made, _ = make_dataset(spec, Store.open((tmp_path / "store").as_uri()))
    assert made.quarantined_rows == 3
    assert sum(part.rows for part in made.splits.values()) == len(names) - 1


def _v2(*images: bytes) -> tuple[bytes, dict[str, str]]:
    binary = b"".join(struct.pack("<I", len(image)) + image for image in images)
    tensor = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [len(images)],
        "parameters": {"binary_data_size": len(binary)},
    }
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + binary, {
        "content_type": "application/octet-stream",
        "inference_header_content_length": str(len(head)),
    }


def test_a_request_brings_base64_bytes_or_an_allowed_address(house: House, server: Server) -> None:
    text = base64.b64encode(DISC).decode()
    instances = [
        text, {"b64": base64.b64encode(BAR).decode()}, f"data:image/jpeg;base64,{text}",
        {"address": f"s3://{BUCKET}/photos/bar/0001.PNG"}, f"s3://{BUCKET}/photos/disc/0000.jpg",
    ]  # fmt: skip
    status, answer = server.predict({"instances": instances})
    assert status == 200, answer
    labels = [each["label"] for each in answer["predictions"]]
    assert labels == ["disc", "bar", "disc", "bar", "disc"]
    body, headers = _v2(DISC, BAR, f"s3://{BUCKET}/photos/bar/0001.PNG".encode())
    status, answer = server.infer(body, **headers)
    assert status == 200, answer
    assert next(output["data"] for output in answer["outputs"] if output["name"] == "label") == ["disc", "bar", "bar"]
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
    assert server.infer({"inputs": [tensor]})[0] == 200


DAMAGED = pictures.saved(pictures.drawn("disc", 999), "WEBP")
DAMAGED = DAMAGED[:30] + b"\xff" * 20 + DAMAGED[50:]
REFUSED = {
    "text": ("no image", "instances[0] is not base64, got 'no image'"),
    "number": (7, "instances[0] must be base64"),
    "unknown name": ({"b65": ""}, "instances[0]: unknown name 'b65'; allowed are b64, address"),
    "both": ({"b64": "", "address": ""}, "instances[0] must hold one of b64 and address"),
    "no text": ({"b64": 7}, "instances[0].b64 must be a string, got a number"),
    "empty": ("", "instances[0]: the file is empty"),
    "no image": (
        base64.b64encode(b"a text").decode(),
        "instances[0]: no image but text; expected JPEG, PNG, WebP or GIF",
    ),
    "cut": (base64.b64encode(DISC[:300]).decode(), "instances[0]: the image is cut: its data end too early"),
    "damaged": (base64.b64encode(DAMAGED).decode(), "the image cannot be decoded"),
    "too large": (base64.b64encode(bytes(20_001)).decode(), "instances[0]: the image has 20,001 bytes, at most 20,000"),
    "too many pixels": (
        base64.b64encode(pictures.saved(pictures.Image.new("1", (1001, 1000)), "PNG")).decode(),
        "instances[0]: the image declares more than 1,000,000 pixels (max_pixels)",
    ),
    "elsewhere": (
        "s3://pictures/store/secret",
        "is not allowed here; allowed are addresses below s3://pictures/photos/",
    ),
    "outside": ("s3://pictures/photos/../store/x", "is not allowed here"),
    "nothing there": ("s3://pictures/photos/gone.jpg", "nothing stands at 's3://pictures/photos/gone.jpg'"),
    "another scheme": ({"address": "file:///etc/passwd"}, "is no s3:// address"),
}


@pytest.mark.parametrize(("instance", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_image_gets_400_and_the_reason_in_one_line(server: Server, instance: Any, reason: str) -> None:
    status, answer = server.predict({"instances": [instance]})
    assert status == 400, answer
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


def test_no_address_is_read_unless_the_endpoint_allows_it(house: House) -> None:
    kind = load_input("image")
    with pytest.raises(ValueError, match=r"no address is: send .* endpoint.input.allow_addresses"):
        kind.read_instance(f"s3://{BUCKET}/photos/disc/0000.jpg", "instances[0]", kind.Limits())
    for wrong in ("s3://bucket", "s3://bucket/photos", "https://x/", "s3:///"):
        with pytest.raises(ValueError, match=r"expected s3://bucket/folder/|end it with /"):
            kind.Limits(allow_addresses=[wrong])


def test_the_check_of_a_deployment_asks_for_the_kept_files(house: House, server: Server) -> None:
    kept = kept_rows(house.record, house.model, 10)
    assert re.match(r"(disc|bar)/\d+\.\w+, (JPEG|PNG|WebP) 48x40, ", kept.previews[0])
    found = check_endpoint(f"{server.url}/v1/models/toy:predict", kept, 1e-4, 3)
    assert found.passed, found.reason
    assert house.record.example_line == "photo.jpg"
    assert example_body(kept.kind, house.record.example, "v1") == {"instances": ["<photo.jpg as base64>"]}


def test_a_line_of_a_person_is_a_file_or_an_address(tmp_path: Path) -> None:
    kind = load_input("image")
    (tmp_path / "photo.jpg").write_bytes(DISC)
    limits = kind.Limits()
    assert kind.read_instance(kind.from_line(f"{tmp_path}/photo.jpg"), "x", limits) == DISC
    assert kind.from_line(" s3://b/photos/a.jpg\n") == "s3://b/photos/a.jpg"
    for wrong in (str(tmp_path / "gone.jpg"), str(tmp_path), "", "a" * 5000, "a\0b"):
        with pytest.raises(ValueError, match=r"no such file|cannot be read"):
            kind.from_line(wrong)


@pytest.mark.parametrize("way", ["memory", "stream"])
def test_pixels_are_made_when_records_are_parsed_or_batch_by_batch_alike(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    from shipway.tasks import load_task
    from shipway.training import data as td
    from shipway.training import shards as sh
    from shipway.training.order import Share

    encoder, _ = sh.fetch_encoder(house.dataset, pictures.REFERENCE, tmp_path)
    shards = sh.split_shards(house.dataset, "train")
    paths = sh.fetch_shards(house.dataset, shards, tmp_path)
    rows = house.dataset.splits["train"].encoded_rows
    found = []
    for bearable in (td.HELD_BYTES, 0):
        monkeypatch.setattr(td, "HELD_BYTES", bearable)
        targets = load_task("classification").labels.targets(encoder)
        parser = td.Parser.of(house.dataset, encoder, ["pixels"], targets)
        assert parser.is_late == (bearable == 0)
        if way == "memory":
            split = parser.load(paths, rows)
            assert set(split) == ({"file", "label"} if parser.is_late else {"pixels", "label"})
            batches = td.memory_batches(parser, split, rows, 16, 3, 5, Share(0, 1))
        else:
            batches = td.stream_batches(parser, shards, paths, 16, 3, 5)
        found.append([(features["pixels"].numpy(), target["label"].numpy()) for features, target in batches.take(3)])
    for early, late in zip(*found, strict=True):
        assert early[0].shape == (16, pictures.SIDE, pictures.SIDE, 3)
        assert (early[0] == late[0]).all()
        assert (early[1] == late[1]).all()


def test_training_over_a_damaged_image_ends_in_one_line(house: House, tmp_path: Path) -> None:
    from shipway.training.loop import fit
    from shipway.training.spec import FitSpec

    pictures.write_folder(tmp_path / "photos", 40)
    for number in range(6):
        (tmp_path / "photos" / "disc" / f"damaged{number}.webp").write_bytes(DAMAGED + bytes([number]))
    spec = house.spec.model_copy(update={"data": str(tmp_path / "photos")})
    dataset, _ = make_dataset(spec, Store.open((tmp_path / "store").as_uri()))
    training = FitSpec(name="shapes", recipe=pictures.REFERENCE, epochs=1, batch_size=8)
    with pytest.raises(InvalidData, match="a record cannot be decoded: the image cannot be decoded: ") as refused:
        fit(training, dataset, tmp_path)
    assert "\n" not in str(refused.value)
    encoder, _ = shards.fetch_encoder(dataset, pictures.REFERENCE, tmp_path)
    paths = shards.fetch_shards(dataset, shards.split_shards(dataset, "train"), tmp_path / "shards")
    with pytest.raises(InvalidData, match="a record cannot be decoded: the image cannot be decoded: "):
        Examples.of(dataset, encoder, {}).everything(paths)  # what a recipe that fits by itself is given
    session = ModelSession.open(house.model, recipes=[pictures.REFERENCE])
    with pytest.raises(ValueError, match="the image cannot be decoded"):
        session.predict([DISC, DAMAGED])


def test_a_thumbnail_is_no_part_of_a_page_but_its_name_is() -> None:
    kind = load_input("image")
    rows = pl.DataFrame({"image": [DISC, b"?"], "path": ["disc/1.jpg", None]})
    assert kind.preview(rows).to_list() == [f"disc/1.jpg, JPEG 48x40, {len(DISC):,} bytes", "1 bytes"]
