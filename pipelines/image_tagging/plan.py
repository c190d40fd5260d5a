"""What `image_tagging` has to configure: what `train_and_deploy` has, under the names that images have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shipway.errors import InvalidSpec
from shipway.pipelines.train_and_deploy.plan import TrainAndDeploy
from shipway.planning.resolving import merge

RECIPE = "image_tags"


class ImageTagging(TrainAndDeploy):
    """From images and their tags to a served, verified model."""

    example = "name=my-photos data=photos/labels.csv"
    flat: Mapping[str, Sequence[tuple[str, str]]] = {
        "name": [(section, "name") for section in ("dataset", "training", "endpoint")],
        "data": [("dataset", "data")],
        "image_column": [("dataset", "input.path_column")],
        "tags_column": [("dataset", "label_column")],
        "group_column": [("dataset", "group_column")],
        "size": [("dataset", "encoder.size")],
        "network": [("training", "params.network")],
        "strategy": [("training", "strategy")],
        "workers": [("training", "workers")],
        "epochs": [("training", "epochs")],
        "webhook": [],
    }
    decided = ("name", "data")

    def start_from(
        self, preset: Mapping[str, Any], params: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The preset with the recipe that this pipeline is about; where a network is named, none is searched for."""
        start = merge(preset, {section: {"recipe": RECIPE} for section in ("dataset", "training")})
        if params.get("network") or (overrides.get("training", {}).get("params") or {}).get("network"):
            start["sweep"] = dict(start["sweep"])
            start["sweep"]["parameters"] = {k: v for k, v in start["sweep"]["parameters"].items() if k != "network"}
        return start

    def check_given(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        for section in ("dataset", "training"):
            recipe = overrides.get(section, {}).get("recipe", RECIPE)
            if recipe != RECIPE:
                raise InvalidSpec(
                    f"got {recipe!r}, this pipeline's is {RECIPE}; another one runs by train_and_deploy, "
                    f"recipe={recipe}",
                    field=f"overrides.{section}.recipe",
                    given=recipe,
                )
        super().check_given(params, overrides)


plan = ImageTagging()
