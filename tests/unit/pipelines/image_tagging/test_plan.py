"""What the plan of image_tagging takes and refuses under the names that images have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from shipway import tables
from shipway.demos.images import write_scenes
from shipway.errors import InvalidData, InvalidSpec
from shipway.planning import find, resolve
from shipway.planning.presets import presets

PIPELINE = find("image_tagging")


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows") / "homes"
    write_scenes(folder, 5)
    return folder


def specs(homes: Path, **more: Any) -> Mapping[str, Any]:
    return resolve(PIPELINE, {"name": "homes", "data": str(homes), **more}).specs


@pytest.mark.parametrize("preset", presets(PIPELINE.folder or Path()))
def test_every_preset_trains_the_recipe_of_tags_on_images_that_may_have_none(homes: Path, preset: str) -> None:
    found = specs(homes, preset=preset)
    assert {found[section].recipe for section in ("dataset", "training")} == {"image_tags"}
    assert found["dataset"].labels["allow_none"] is True
    assert found["training"].params["network"] == "small"


def test_flat_parameters_reach_the_fields_that_they_name(homes: Path) -> None:
    found = specs(homes, size=96, network="vgg19", image_column="file", tags_column="tags", group_column="home")
    dataset = found["dataset"]
    assert (dataset.encoder["size"], dataset.input["path_column"], dataset.label_column) == (96, "file", "tags")
    assert dataset.group_column == "home"
    assert found["training"].params["network"] == "vgg19"
    assert found["sweep"].training.params["network"] == "vgg19"


def test_a_network_that_somebody_names_is_not_searched_for(homes: Path) -> None:
    searched = specs(homes, preset="thorough")["sweep"]
    assert "network" in [each.name for each in searched.parameters]
    for named in ({"network": "vgg19"}, {"overrides": {"training": {"params": {"network": "vgg19"}}}}):
        found = specs(homes, preset="thorough", **named)["sweep"]
        assert [each.name for each in found.parameters] == [e.name for e in searched.parameters if e.name != "network"]
        assert found.training.params["network"] == "vgg19"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"name": ""}, r"name: missing; .*name=my-photos data=photos/labels\.csv"),
        ({"network": "vgg16"}, r"training\.params\.network: .*'vgg16'"),
        ({"network": "vgg19", "size": 16}, r"vgg19 takes images from 32 x 32 pixels, dataset\.encoder\.size is 16"),
        ({"preset": "thorough", "size": 24}, r"sweep\.parameters\[\d\]\..*inception_v1.* takes images from 32 x 32"),
        ({"size": 4}, r"dataset\.encoder\.size: "),
        ({"overrides": {"training": {"recipe": "intents"}}}, r"training\.recipe: .* train_and_deploy, recipe=intents"),
        ({"overrides": {"training": {"params": {"flipp": "none"}}}}, r"did you mean 'flip'"),
        ({"overrides": {"training": {"params": {"shift": 0.7}}}}, r"training\.params\.shift: "),
        ({"overrides": {"endpoint": {"answers": {"scale": "logits"}}}}, r"endpoint\.answers\.scale: .*log_odds"),
        ({"overrides": {"sweep": {"parameters": {"widht": "choice(8, 16)"}}}}, r"did you mean 'width'"),
    ],
)
def test_a_mistake_is_refused_in_one_line(homes: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        specs(homes, **more)
    assert "\n" not in str(caught.value)


def test_a_column_that_the_table_lacks_is_refused_before_anything_starts(homes: Path) -> None:
    given = {"name": "homes", "data": str(homes), "tags_column": "tags"}
    with pytest.raises(InvalidData, match=r"label_column: no column 'tags' in 'labels\.csv'; it has path, label"):
        _ = resolve(PIPELINE, given).notes


def test_a_table_from_python_whose_cells_name_files_has_to_say_where_they_lie() -> None:
    kept = f"s3://shipway/{tables.FOLDER}/{'0' * 32}.parquet"
    given = {"name": "homes", "data": kept}
    with pytest.raises(InvalidSpec, match=r"data: its column path names files, .*dataset\.input\.root.*bytes_column"):
        resolve(PIPELINE, given)
    for place in ({"root": "photos"}, {"bytes_column": "image"}):
        resolve(PIPELINE, {**given, "overrides": {"dataset": {"input": place}}})
