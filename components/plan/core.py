"""Preset < overrides < flat parameters, merged and validated into one spec per step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic import BaseModel

from shipway.canonical import canonical_json, fingerprint, sha256_hex
from shipway.components.deploy.spec import EndpointSpec
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.components.notify.core import check_address
from shipway.components.prep.spec import DatasetSpec
from shipway.components.promote.spec import PromotionPolicy
from shipway.components.sweep.core import check_objective, check_parameters
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec, nearest
from shipway.executors import identity
from shipway.recipes import BUILT_IN, load_recipe
from shipway.specs import parse
from shipway.yaml_text import load_yaml

SECTIONS: dict[str, type[BaseModel]] = {
    "dataset": DatasetSpec,
    "sweep": SweepSpec,
    "training": TrainingSpec,
    "evaluation": EvaluationSpec,
    "promotion": PromotionPolicy,
    "endpoint": EndpointSpec,
}

# Flat parameter of the pipeline -> where it lands. An empty string or 0 means "not given": KFP has no optional
# parameters that kfp.local can run.
FLAT = {
    "name": [(section, "name") for section in ("dataset", "training", "endpoint")],
    "data": [("dataset", "data")],
    "text_column": [("dataset", "text_column")],
    "label_column": [("dataset", "label_column")],
    "group_column": [("dataset", "group_column")],
    "split_column": [("dataset", "split_column")],
    "recipe": [("dataset", "recipe"), ("training", "recipe")],
    "strategy": [("training", "strategy")],
    "workers": [("training", "workers")],
    "epochs": [("training", "epochs")],
}


class Plan(NamedTuple):
    """One canonical JSON string per step, so that a step's cache key holds what it depends on and nothing else."""

    dataset: str
    sweep: str
    training: str
    evaluation: str
    promotion: str
    endpoint: str
    data_fingerprint: str
    code_fingerprint: str


def presets(pipeline: str) -> list[str]:
    """Names of the presets that a pipeline ships."""
    folder = files("shipway").joinpath("pipelines", pipeline, "params")
    return sorted(Path(str(entry)).stem for entry in folder.iterdir() if str(entry).endswith(".yaml"))


def read_preset(pipeline: str, preset: str) -> dict[str, Any]:
    """A preset's sections.

    Raises:
        InvalidSpec: no such preset.
    """
    names = presets(pipeline)
    if preset not in names:
        raise InvalidSpec(
            f"preset: unknown preset {preset!r}; expected one of {', '.join(names)}{nearest(preset, names)}"
        )
    text = files("shipway").joinpath("pipelines", pipeline, "params", f"{preset}.yaml").read_text(encoding="utf-8")
    return load_yaml(text, f"preset {preset}") or {}


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid on `base`; mappings merge, everything else is replaced. Neither argument is changed.

    A sweep's `parameters` are replaced as a whole: who names what to search means that and nothing else.
    """
    merged = dict(base)
    for key, value in over.items():
        known = merged.get(key)
        both = isinstance(known, Mapping) and isinstance(value, Mapping) and key != "parameters"
        merged[key] = merge(cast(Mapping[str, Any], known), value) if both else value
    return merged


def _for_recipe(preset: Mapping[str, Any], recipe: str) -> dict[str, Any]:
    """The preset without what it says of its own recipe's parameters, where another recipe is asked for."""
    if recipe in ("", preset.get("training", {}).get("recipe", "intents")):
        return dict(preset)
    own = {"dataset": "encoder", "sweep": "parameters", "training": "params"}
    return {
        section: {key: value for key, value in fields.items() if key != own.get(section)}
        for section, fields in preset.items()
    }


def resolve(pipeline: str, params: Mapping[str, Any]) -> dict[str, BaseModel]:
    """The validated spec of every step.

    Args:
        pipeline: Folder name of the pipeline, whose presets are read.
        params: Flat parameters as typed in the UI, on the command line or in Python.

    Raises:
        InvalidSpec: says the field's path, what it got, what it may be, and the nearest right name.
    """
    preset = str(params.get("preset") or "default")
    overrides = params.get("overrides") or {}
    if isinstance(overrides, str):
        overrides = load_yaml(overrides, "overrides") or {}
    if not isinstance(overrides, Mapping):
        raise InvalidSpec(f"overrides: expected a mapping of sections, got {overrides!r}")
    for section, fields in overrides.items():
        if not isinstance(fields, Mapping):
            raise InvalidSpec(f"overrides.{section}: expected a mapping of fields, got {fields!r}")
        if section not in SECTIONS:
            raise InvalidSpec(
                f"overrides.{section}: unknown section; expected one of {', '.join(SECTIONS)}"
                f"{nearest(str(section), SECTIONS)}"
            )
    recipe = str(params.get("recipe") or overrides.get("training", {}).get("recipe", ""))
    document = merge(_for_recipe(read_preset(pipeline, preset), recipe), overrides)
    for flat, places in FLAT.items():
        value = params.get(flat)
        if value in (None, "", 0):
            continue
        for section, field in places:
            document = merge(document, {section: {field: value}})
    for required in ("name", "data"):
        if not params.get(required):
            raise InvalidSpec(
                f"{required}: missing; give {required}=..., for example name=my-bot data=intents.csv "
                "(registry, champion and endpoint are kept per name)"
            )
    identity.check_model_name(params["name"])
    if params.get("webhook"):
        check_address(str(params["webhook"]))
    _check_places(params, overrides)
    return _validated(document)


def _check_places(params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
    """Refuses an override that something else decides: left alone it would be ignored without a word.

    Raises:
        InvalidSpec: says what decides it.
    """
    for flat in ("name", "data"):
        for section, field in FLAT[flat]:
            given = overrides.get(section, {}).get(field)
            if given not in (None, params[flat]):
                raise InvalidSpec(
                    f"overrides.{section}.{field}: got {given!r}, but it is always the parameter {flat} "
                    f"({params[flat]!r}); leave it out, or give {flat}={given}"
                )
    if "slices" in overrides.get("dataset", {}):
        raise InvalidSpec(
            "overrides.dataset.slices: prep gets those of the evaluation; give overrides.evaluation.slices"
        )
    if "training" in overrides.get("sweep", {}):
        raise InvalidSpec(
            "overrides.sweep.training: trials train what the section `training` says; put it into overrides.training"
        )


def _validated(document: Mapping[str, Any]) -> dict[str, BaseModel]:
    name = str(document.get("training", {}).get("recipe", "intents"))
    recipe = load_recipe(name)
    if name not in BUILT_IN:  # the later steps load it because stored manifests name it: the run's own word allows it
        for section in ("evaluation", "promotion", "endpoint"):
            known = document.get(section, {}).get("recipes") or []
            document = merge(document, {section: {"recipes": [*known, *({name} - set(known))]}})
    specs = {
        section: parse(model, document.get(section, {}), section)
        for section, model in SECTIONS.items()
        if section != "sweep"
    }
    # A recipe's numbers arrive from the UI as floats; only its own model knows which are whole.
    for section, field, model in (
        ("dataset", "encoder", recipe.EncoderParams),
        ("training", "params", recipe.Params),
    ):
        checked = parse(model, getattr(specs[section], field), f"{section}.{field}")
        specs[section] = specs[section].model_copy(update={field: checked.model_dump(mode="json")})
    sweep = merge(document.get("sweep", {}), {"training": specs["training"].model_dump(mode="json")})
    searched = parse(SweepSpec, sweep, "sweep")
    check_objective(searched)
    if not searched.function:
        check_parameters(searched, recipe.Params, recipe.name)
    specs["sweep"] = searched
    slices = cast(EvaluationSpec, specs["evaluation"]).slices  # prep sees the columns before anything is trained
    specs["dataset"] = specs["dataset"].model_copy(update={"slices": slices})
    _check_fractions(cast(DatasetSpec, specs["dataset"]), cast(EvaluationSpec, specs["evaluation"]).split)
    return {section: specs[section] for section in SECTIONS}


def _check_fractions(dataset: DatasetSpec, evaluated: str) -> None:
    """Training stops by the eval split, and evaluation scores one: neither may be empty by its own setting."""
    if dataset.split_column:
        return  # the rows say it, and prep refuses a side without any
    for split, why in (("eval", "training picks its best epoch by"), (evaluated, "evaluation scores")):
        field = f"{split}_fraction"
        if getattr(dataset, field, 1.0) == 0:
            raise InvalidSpec(f"dataset.{field}: 0 leaves no rows in {split}, which {why}; give a share such as 0.1")


def code_fingerprint(recipe: str) -> str:
    """Hash over the installed package's Python files and the source folder of a user's recipe."""
    roots = [Path(str(files("shipway")))]
    module_name = recipe.partition(":")[0] if ":" in recipe else ""
    if module_name and not module_name.startswith("shipway."):
        roots.append(_source_of(module_name))
    return fingerprint([[str(index), *_hashes(root)] for index, root in enumerate(roots)])


def _source_of(module_name: str) -> Path:
    from importlib.util import find_spec

    spec = find_spec(module_name)
    if spec is None or spec.origin is None:
        raise InvalidSpec(f"recipe: module {module_name!r} has no source file")
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" or "." in module_name else origin


def _hashes(root: Path) -> list[str]:
    if root.is_file():
        return [sha256_hex(root.read_bytes())]
    found: list[str] = []
    for folder in [root, *(link for link in (root / "components", root / "pipelines") if link.is_symlink())]:
        # A development checkout reaches components and pipelines through links, which rglob does not follow.
        real = folder.resolve()
        found += [f"{path.relative_to(real)}:{sha256_hex(path.read_bytes())}" for path in sorted(real.rglob("*.py"))]
    return found


def check_head(specs: Mapping[str, BaseModel]) -> list[str]:
    """Opens local files far enough to see their columns, so that a misspelt one is refused before anything starts.

    Remote ones are read by prep alone, before anything is trained; so are all where Polars is not installed, in the
    launcher's image, whose disk holds no data.

    Returns:
        What a person should know of how they will be read: files skipped, quotes, columns left out.

    Raises:
        InvalidData: a file cannot be read, or lacks a column; names the columns there are.
        InvalidSpec: a slice of the evaluation is over a column that the rows will not have.
    """
    dataset = cast(DatasetSpec, specs["dataset"])
    from shipway.recipes.absent import has_polars
    from shipway.storage.sources import fetch_source, is_local, skipped_files

    if not is_local(dataset.data) or not has_polars():
        return []
    from shipway.components.prep import noted
    from shipway.components.prep.columns import check_slices
    from shipway.components.prep.sources import empty_files, find_sources, row_columns

    files = fetch_source(dataset.data, "", dataset.format)
    sources = find_sources(files, dataset)
    check_slices(dataset.slices, row_columns(sources, dataset))
    skipped = skipped_files(dataset.data, dataset.format) | empty_files(files, sources)
    return noted.notes(noted.document(sources, skipped, dataset))


def make_plan(pipeline: str, params: Mapping[str, Any]) -> Plan:
    """Everything that `plan` gives out; also what `--dry-run` shows and what a run's key is hashed from."""
    from shipway.storage.sources import fingerprint_source

    specs = resolve(pipeline, params)
    check_head(specs)
    dataset = json.loads(canonical_json(specs["dataset"]))
    return Plan(
        **{section: canonical_json(spec) for section, spec in specs.items()},
        data_fingerprint=fingerprint_source(dataset["data"], dataset["format"]),
        code_fingerprint=code_fingerprint(dataset["recipe"]),
    )
