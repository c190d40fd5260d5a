"""What `train_and_deploy` has to configure, what is refused before it starts, and what each step depends on."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel

from shipway.components.deploy.spec import EndpointSpec
from shipway.components.deploy.spec import check_spec as check_endpoint
from shipway.components.evaluate.spec import EvaluationSpec, check_evaluation
from shipway.components.notify.core import check_address
from shipway.components.prep.data import data_fingerprint, look
from shipway.components.prep.schema import check as check_dataset
from shipway.components.prep.schema import settled
from shipway.components.prep.spec import DatasetSpec
from shipway.components.promote.spec import PromotionPolicy, check_policy
from shipway.components.sweep.budget import check_budget
from shipway.components.sweep.core import (
    check_objective,
    check_parameters,
    check_together,
    most_trials,
    search_in_words,
)
from shipway.components.sweep.rungs import check_rungs
from shipway.components.sweep.spec import SweepSpec
from shipway.components.train.spec import TrainingSpec
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.images import VERSION
from shipway.inputs import input_of
from shipway.planning import Plan, code_fingerprint
from shipway.planning.base import Specs
from shipway.planning.own_code import with_code
from shipway.planning.resolving import merge
from shipway.planning.sources import source_of
from shipway.recipes import BUILT_IN, load_recipe
from shipway.recipes.base import ChecksParams, KnowsPlace, SuggestsSearch
from shipway.recipes.own_fit import packages_of
from shipway.specs import parse
from shipway.tasks import task_of
from shipway.training.spec import check_training

if TYPE_CHECKING:
    from shipway.executors.kubernetes import KubernetesExecutor

CODED = ("dataset", "training", "evaluation", "promotion", "endpoint")  # sections whose steps load the recipe


class TrainAndDeploy(Plan):
    """From rows to a served, verified model.

    Attributes:
        example: Of the parameters that a run needs, for messages.
    """

    version = VERSION
    example = "name=my-bot data=intents.csv"
    sections: Mapping[str, type[BaseModel]] = {
        "dataset": DatasetSpec,
        "sweep": SweepSpec,
        "training": TrainingSpec,
        "evaluation": EvaluationSpec,
        "promotion": PromotionPolicy,
        "endpoint": EndpointSpec,
    }
    flat: Mapping[str, Sequence[tuple[str, str]]] = {
        "name": [(section, "name") for section in ("dataset", "training", "endpoint")],
        "data": [("dataset", "data")],
        "input_column": [("dataset", "input.column")],
        "label_column": [("dataset", "label_column")],
        "group_column": [("dataset", "group_column")],
        "split_column": [("dataset", "split_column")],
        "recipe": [("dataset", "recipe"), ("training", "recipe")],
        "code": [(section, "code") for section in CODED],
        "strategy": [("training", "strategy")],
        "workers": [("training", "workers")],
        "epochs": [("training", "epochs")],
        "webhook": [],
    }
    decided: Collection[str] = ("name", "data", "code")
    whole = ("parameters",)

    def start_from(
        self, preset: Mapping[str, Any], params: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """The preset without what it says of its own recipe's parameters, where another recipe is asked for."""
        recipe = str(params.get("recipe") or overrides.get("training", {}).get("recipe", ""))
        if recipe in ("", preset.get("training", {}).get("recipe", "intents")):
            return preset
        own = {"dataset": ["encoder"], "sweep": ["parameters"], "training": ["params"]}
        return {
            section: {key: value for key, value in fields.items() if key not in own.get(section, ())}
            for section, fields in preset.items()
        }

    def check_given(self, params: Mapping[str, Any], overrides: Mapping[str, Any]) -> None:
        for required in ("name", "data"):
            if not params.get(required):
                raise InvalidSpec(
                    "missing",
                    field=required,
                    fix=(
                        f"give {required}=..., for example {self.example} (registry, champion and endpoint "
                        "are kept per name)"
                    ),
                )
        identity.check_model_name(params["name"])
        if params.get("webhook"):
            check_address(str(params["webhook"]))
        if "slices" in overrides.get("dataset", {}):
            raise InvalidSpec(
                "prep gets those of the evaluation",
                field="overrides.dataset.slices",
                fix="give overrides.evaluation.slices",
            )
        if "training" in overrides.get("sweep", {}):
            raise InvalidSpec(
                "trials train what the section `training` says",
                field="overrides.sweep.training",
                fix="put it into overrides.training",
            )

    def specs(self, document: Mapping[str, Any]) -> dict[str, Any]:
        name = str(document.get("training", {}).get("recipe", "intents"))
        document = with_code(document, CODED, [name, str(document.get("sweep", {}).get("function") or "")])
        recipe = load_recipe(name)
        if name not in BUILT_IN:  # later steps load it because stored manifests name it: the run's own word allows it
            for section in ("evaluation", "promotion", "endpoint"):
                known = document.get(section, {}).get("recipes") or []
                document = merge(document, {section: {"recipes": [*known, *({name} - set(known))]}})
        specs: dict[str, Any] = {
            section: parse(model, document.get(section, {}), section)
            for section, model in self.sections.items()
            if section != "sweep"
        }
        task, kind = task_of(recipe), input_of(recipe)
        # A recipe's numbers arrive from the UI as floats; only its own model knows which are whole.
        for section, field, model in (
            ("dataset", "encoder", recipe.EncoderParams),
            ("training", "params", recipe.Params),
            ("dataset", "input", kind.Params),
            ("dataset", "labels", task.labels.Params),
            ("endpoint", "input", kind.Limits),
        ):
            checked = parse(model, getattr(specs[section], field), f"{section}.{field}")
            specs[section] = specs[section].model_copy(update={field: checked.model_dump(mode="json")})
        encoder_params = parse(recipe.EncoderParams, specs["dataset"].encoder, "dataset.encoder")
        if isinstance(recipe, ChecksParams):
            recipe.check_params(parse(recipe.Params, specs["training"].params, "training.params"), encoder_params)
        check_dataset(specs["dataset"])
        check_endpoint(specs["endpoint"], task, kind)
        check_evaluation(specs["evaluation"], task)
        check_policy(specs["promotion"], task)
        check_training(specs["training"])
        sweep = merge(document.get("sweep", {}), {"training": specs["training"].model_dump(mode="json")})
        if isinstance(recipe, SuggestsSearch):
            sweep = {"parameters": recipe.search, **sweep}
        searched = parse(SweepSpec, sweep, "sweep")
        check_objective(searched)
        check_budget(searched)
        if not searched.function:
            check_rungs(searched)
            check_parameters(searched, recipe.Params, recipe.name)
            check_together(searched, recipe, encoder_params)
        specs["sweep"] = searched
        slices = specs["evaluation"].slices  # prep sees the columns before anything is trained
        specs["dataset"] = specs["dataset"].model_copy(update={"slices": slices})
        _check_fractions(specs["dataset"], specs["evaluation"].split)
        return {section: specs[section] for section in self.sections}

    def settle(self, specs: Specs) -> tuple[Specs, list[str]]:
        """Strategy and workers; and the encoder's parameters, by what the recipe knows of the place: prep's image alone
        knows that of a cluster, and Polars tells it from the launcher's.
        """
        from shipway.components.train.core import as_chosen
        from shipway.recipes.absent import has_polars

        training, how = as_chosen(cast(TrainingSpec, specs["training"]))
        sweep = specs["sweep"].model_copy(update={"training": training})
        dataset, which = settled(cast(DatasetSpec, specs["dataset"])) if has_polars() else (specs["dataset"], "")
        chosen = {"dataset": dataset, "training": training, "sweep": sweep}
        return {**specs, **chosen}, [told for told in (which, how) if told]

    def check_head(self, specs: Specs) -> list[str]:
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
        from shipway.storage.sources import is_local

        return look(dataset) if is_local(dataset.data) and has_polars() else []

    def check_here(self, specs: Specs) -> None:
        from shipway.components.train.core import runs_here
        from shipway.doctor import require_local

        training = cast(TrainingSpec, specs["training"])
        is_here, recipe = runs_here(training), load_recipe(training.recipe)
        require_local(training.strategy if is_here else "")
        if is_here:
            packages_of(recipe)
        if isinstance(recipe, KnowsPlace):
            encoder = cast(DatasetSpec, specs["dataset"]).encoder
            recipe.check_place(parse(recipe.EncoderParams, encoder, "dataset.encoder"))

    def check_cluster(self, specs: Specs, executor: KubernetesExecutor) -> None:
        from shipway.components.deploy.core import inference_service
        from shipway.components.train.core import render
        from shipway.executors.kubernetes import services

        context, endpoint = executor.context, cast(EndpointSpec, specs["endpoint"])
        nowhere = context.uri("none")
        executor.check(render(specs["training"], identity.CHECK, nowhere, store_uri=context.store_uri))
        executor.check(
            inference_service(
                endpoint, endpoint=identity.CHECK, version=1, model_uri=nowhere, model_digest="0" * 64,
                variant_digest="0" * 64, recipe="", code=endpoint.code, answers={}, store_uri=context.store_uri,
                run=context.run, namespace=context.namespace,
            )
        )  # fmt: skip
        services.check_names(executor.api, context.namespace, (endpoint.name, identity.candidate_name(endpoint.name)))

    def fingerprints(self, specs: Specs) -> dict[str, str]:
        dataset = cast(DatasetSpec, specs["dataset"])
        module = dataset.recipe.partition(":")[0] if ":" in dataset.recipe else ""
        own = [source_of(module)] if module and not module.startswith("shipway.") else []
        return {
            "data_fingerprint": data_fingerprint(dataset),
            "code_fingerprint": code_fingerprint(*own, code=dataset.code),
        }

    def work(self, task: str, specs: Specs) -> str:
        training, sweep = specs["training"], specs["sweep"]
        if task == "dataset":
            return str(specs["dataset"].data)
        if task == "search":
            if most_trials(sweep) <= 1:  # the step then runs none: there is nothing to choose from
                return "no search"
            return search_in_words(sweep)
        if task == "job":
            workers = f"{training.workers} worker{'s' if training.workers != 1 else ''}"
            return f"{training.strategy}, {workers}, {training.epochs:g} epochs"
        return f"endpoint {specs['endpoint'].name}" if task == "release" else ""


def _check_fractions(dataset: DatasetSpec, evaluated: str) -> None:
    """Training stops by the eval split, and evaluation scores one: neither may be empty by its own setting."""
    if dataset.split_column:
        return  # the rows say it, and prep refuses a side without any
    for split, why in (("eval", "training picks its best epoch by"), (evaluated, "evaluation scores")):
        field = f"{split}_fraction"
        if getattr(dataset, field, 1.0) == 0:
            raise InvalidSpec(
                f"0 leaves no rows in {split}, which {why}", field=f"dataset.{field}", fix="give a share such as 0.1"
            )


plan = TrainAndDeploy()
