"""The protocol that model code implements, and how a recipe is found by name.

A recipe is a package (`shipway.recipes.intents`) or a user's `package.module:name`; it exposes one object with the
attributes of `Recipe`. Its `model` functions import TensorFlow inside, everything else runs anywhere.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import BaseModel

from shipway import modules
from shipway.artifacts import FeatureSpec
from shipway.code.given import allowing, use_given
from shipway.errors import InvalidSpec
from shipway.objects import load_object
from shipway.recipes.absent import allow_mention
from shipway.recipes.arrays import Encoded
from shipway.recipes.own_fit import FitsItself, Rows

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray

    from shipway.inputs.base import Input
    from shipway.tasks.base import Task


class Encoder(Protocol):
    """Fitted on the training split; the same code in prep, evaluation and the predictor."""

    @property
    def labels(self) -> list[str]:
        """Class names; the position is the class id. Empty where the task has no classes."""
        ...

    @property
    def features(self) -> dict[str, FeatureSpec]:
        """The encoded tensors."""
        ...

    def encode(self, values: Sequence[Any]) -> Encoded:
        """Encodes a chunk of the input's values (texts); a feature of variable length comes as `Ragged`.

        Raises:
            BadRequest: a value that looked in order and is not; its message is the reason.
        """
        ...

    def to_document(self) -> dict[str, Any]:
        """A JSON document that `Recipe.load_encoder` turns back into an equal encoder."""
        ...


@runtime_checkable
class Packs(Protocol):
    """What an encoder may offer beside `Encoder`: records smaller than the features, made where they are read.

    `unpack(pack(values))` equals `encode(values)`; a text takes a tenth of the room of its n-grams' ids, an image's
    file that of its pixels.
    """

    @property
    def packed(self) -> dict[str, FeatureSpec]:
        """What a record holds in place of `features`."""
        ...

    def pack(self, values: Sequence[Any]) -> Encoded:
        """A chunk of the input's values as records hold them; bytes as an array of objects."""
        ...

    def unpack(self, records: Encoded, features: Collection[str]) -> Encoded:
        """These features of records, others too; called from several threads at once.

        Raises:
            BadRequest: a record that looked in order and is not, such as a damaged image; its message is the reason.
        """
        ...


@runtime_checkable
class HasVectors(Protocol):
    """What an encoder may offer beside `Encoder`: a vector for each row, near to those of rows that mean the same.

    By them the dataset's page names rows that contradict each other and labels that may be two, and counts rows of eval
    and test that are near one of train.
    """

    def vectors(self, encoded: Encoded) -> NDArray[np.float32] | None:
        """Of a chunk, float32 (n, width), finite; None where an encoder of these parameters has none.

        Args:
            encoded: What `pack` gave, or `encode` where the encoder does not pack: nothing is encoded a second time.
        """
        ...


@runtime_checkable
class Recipe(Protocol):
    """What every recipe has; beside it a model, in one of two ways: `KerasRecipe`, or `shipway.recipes.FitsItself`.

    Attributes:
        name: As given in specs.
        task: What a prediction is: a shipped task's name (`classification`), or an object of the recipe's own.
        input: What a row gives: a shipped input's name (`text`), or an object of the recipe's own.
        EncoderParams: What the encoder depends on; a change encodes the dataset anew.
        Params: What the model and its training depend on; what a sweep may vary.
    """

    name: str
    task: str | Task
    input: str | Input
    EncoderParams: type[BaseModel]
    Params: type[BaseModel]

    def fit_encoder(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> Encoder:
        """Fits on the training split, given as a stream of frames with the input's columns and `label`."""
        ...

    def load_encoder(self, document: dict[str, Any]) -> Encoder:
        """The encoder that `to_document` described."""
        ...


@runtime_checkable
class KerasRecipe(Recipe, Protocol):
    """A recipe whose model is a tf_keras Model, which Shipway trains under any strategy, exports and serves."""

    def build_model(self, params: BaseModel, encoder: Encoder) -> Any:
        """An uncompiled tf_keras Model: dict of encoded tensors (batched, padded) -> what the task's head takes.

        For `classification` logits, float32 (n, classes); in training it may give (n, members, classes), to a loss that
        expects it. For `tagging` logits, float32 (n, tags).
        """
        ...

    def compile_model(
        self, model: Any, params: BaseModel, optimizer_wrapper: Any = None, total_steps: int | None = None
    ) -> None:
        """Compiles with the recipe's loss and metrics.

        Horovod passes a wrapper for the optimizer; `total_steps` is how many the training will take, for a schedule.
        """
        ...


@runtime_checkable
class ChecksParams(Protocol):
    """What a recipe may offer beside `Recipe`: a look at both its sections together, before anything is launched."""

    def check_params(self, params: BaseModel, encoder_params: BaseModel) -> None:
        """Refuses what each section allows and the two together do not.

        Raises:
            InvalidSpec: names the field, what was given and what to set.
        """
        ...


@runtime_checkable
class EncodesLong(Protocol):
    """What an encoder may say beside `Encoder`.

    Attributes:
        encodes_long: One instance takes about a millisecond or more, in libraries that let other threads run: a
            predictor encodes beside the thread that talks to clients.
    """

    @property
    def encodes_long(self) -> bool: ...


@runtime_checkable
class KnowsPlace(Protocol):
    """What a recipe may offer beside `Recipe` where some of its encoders need more than Shipway's own packages."""

    def settle(self, encoder_params: BaseModel) -> tuple[BaseModel, str]:
        """The parameters as they hold on this machine, where some leave it to what is installed there: asked by the
        plan and by prep, so that a dataset is named by what it was made with. Settled again they stay as they are.

        Returns:
            The parameters, and what a person should know of the choice; empty where there was none.
        """
        ...

    def check_place(self, encoder_params: BaseModel) -> None:
        """Refuses to encode where a package is not installed: asked before a run starts on this machine, and by prep
        before it reads a row. Imports nothing heavy.

        Raises:
            UserError: names the field, the package and how it is installed.
        """
        ...


@runtime_checkable
class StatesTolerance(Protocol):
    """What a recipe may offer beside `Recipe` where a network's numbers are less exact than `TOLERANCE`.

    Attributes:
        tolerance: How far a variant's outputs may be from the trained model's to be served, and a served answer from
            the one that evaluation kept; relative where an output is above 1.
    """

    tolerance: float


TOLERANCE = 1e-5  # where a recipe states none


def tolerance_of(recipe: Recipe) -> float:
    """What a recipe states, or `TOLERANCE`.

    Raises:
        InvalidSpec: it states no number between 0 and 1.
    """
    if not isinstance(recipe, StatesTolerance):
        return TOLERANCE
    stated: object = recipe.tolerance
    if isinstance(stated, bool) or not isinstance(stated, int | float) or not 0 <= stated < 1:
        raise InvalidSpec(
            field=f"recipe {recipe.name}: tolerance", given=stated, allowed="a number from 0 to below 1, such as 1e-4"
        )
    return float(stated)


class OwnRecipe(Recipe, FitsItself, Protocol):
    """A recipe whose model is of any framework: `FitsItself` is what it has in place of a tf_keras model."""


@runtime_checkable
class FitsInParts(Protocol):
    """What a recipe may offer beside `Recipe`: an encoder whose fitting several processes share.

    `merge_counts` of what `count_rows` gave for parts of the rows equals `fit_encoder` of all.
    """

    def count_rows(self, rows: Iterable[pl.DataFrame], params: BaseModel) -> Any:
        """What a part of the training split adds; it is pickled."""
        ...

    def merge_counts(self, parts: Iterable[Any]) -> Encoder:
        """The encoder of all parts, at least one, in order."""
        ...


@runtime_checkable
class SolvesWeights(Protocol):
    """What a recipe may offer beside `Recipe`: weights that are solved for rather than trained."""

    def solve_weights(self, model: Any, params: BaseModel, encoder: Encoder, rows: Callable[[str], Rows]) -> str | None:
        """Sets non-trainable weights of a fresh model from rows; every worker must arrive at the same.

        Args:
            model: As `build_model` gave it.
            params: The recipe's.
            encoder: The dataset's.
            rows: All rows of `train` or `eval`; read when asked for.

        Returns:
            What was done, or why nothing was, for the log.
        """
        ...


@dataclass(frozen=True)
class Finished:
    """A trained model as it is served.

    Attributes:
        model: An uncompiled tf_keras Model.
        encoder: What encodes rows for it.
        facts: What a person should know of how it was made, for its card: name -> text.
        headline: The same in sentences that stand beside its metrics.
    """

    model: Any
    encoder: Encoder
    facts: Mapping[str, str] = field(default_factory=dict)
    headline: Sequence[str] = ()


@runtime_checkable
class FinishesModel(Protocol):
    """What a recipe may offer beside `Recipe`: a last change before a trained model is exported."""

    def finish_model(self, model: Any, params: BaseModel, encoder: Encoder) -> Finished:
        """The model without what its answers do not depend on, and what there is to say of it.

        Args:
            model: As `build_model` gave it, with the best weights.
            params: The recipe's.
            encoder: The dataset's.
        """
        ...


@runtime_checkable
class TellsFacts(Protocol):
    """What an encoder may offer: facts that a person should know of it, for the dataset's page.

    Attributes:
        facts: Name -> text.
    """

    @property
    def facts(self) -> Mapping[str, str]: ...


@runtime_checkable
class SuggestsSearch(Protocol):
    """What a recipe may offer beside `Recipe`: what a sweep varies where nobody says it.

    Attributes:
        search: `sweep.parameters`, names of `Params` -> `loguniform(0.001, 0.01)` or a list.
    """

    search: Mapping[str, Any]


BUILT_IN = ("intents", "entities", "images", "image_tags")
ALLOWED = "SHIPWAY_RECIPES"  # recipes besides those, comma-separated, that a stored document may name


def load_stored_recipe(reference: str, where: str, allowed: Iterable[str] = (), code: str = "") -> Recipe:
    """The recipe that a stored document names, where a person or the deployment allows it: to import it is to run it.

    Args:
        reference: As `load_recipe` takes it.
        where: The document, for messages.
        allowed: Those that the run's own parameters name, beside the shipped ones and SHIPWAY_RECIPES.
        code: That the document says it was made with. It is never installed for that: the run's own code is in use, or
            that of SHIPWAY_CODE.

    Raises:
        InvalidSpec: it is not allowed here; nothing was imported.
    """
    check_recipe_allowed(reference, where, allowed, code)
    if reference in BUILT_IN:
        return load_recipe(reference)
    use_given()
    try:
        return load_recipe(reference)
    except InvalidSpec as error:
        if not code or modules.code_in_use():
            raise
        raise InvalidSpec(
            f"{error}; it was made with code of a run; if that is yours: set {allowing(code)}", field=where
        ) from error


def check_recipe_allowed(reference: str, where: str, allowed: Iterable[str] = (), code: str = "") -> None:
    """Refuses a recipe that neither we ship nor anybody here named; see `load_stored_recipe`."""
    known = [*BUILT_IN, *allowed, *os.environ.get(ALLOWED, "").replace(",", " ").split()]
    if reference not in known:
        raise InvalidSpec(
            f"it names the recipe {reference!r}, which is not allowed here and was not imported; "
            f"allowed are {', '.join(dict.fromkeys(known))}. If that recipe is yours: give recipe={reference} "
            f"to the run, or set {ALLOWED}={reference}{_and_its(code)}",
            field=where,
            given=reference,
        )


def _and_its(code: str) -> str:
    return f", and for its code {allowing(code)}" if code and not modules.code_in_use() else ""


def load_recipe(reference: str) -> Recipe:
    """The recipe named `intents`, or a user's `package.module:name`.

    Raises:
        InvalidSpec: unknown name, module that does not import, an object that is no recipe, or one that states no
            tolerance where it should.
    """
    module_name, _, attribute = reference.partition(":")
    if not attribute:
        if module_name not in BUILT_IN:
            raise InvalidSpec(
                "unknown recipe", field="recipe", given=reference, allowed=(*BUILT_IN, "'package.module:name'")
            )
        module_name, attribute = f"shipway.recipes.{module_name}", "recipe"
    allow_mention()
    recipe = load_object(f"{module_name}:{attribute}", "recipe")
    if not isinstance(recipe, Recipe) or isinstance(recipe, type):
        is_class = isinstance(recipe, type)
        raise InvalidSpec(
            f"{reference!r} is {'a class' if is_class else f'of type {type(recipe).__name__}'}, not a recipe",
            field="recipe",
            given=reference,
            fix=f"make one of it: {attribute} = {recipe.__name__}()" if is_class else "see docs/recipes.md",
        )
    if isinstance(recipe, KerasRecipe) == isinstance(recipe, FitsItself):
        raise InvalidSpec(
            f"{reference!r} has {'both' if isinstance(recipe, FitsItself) else 'neither'}: "
            "build_model and compile_model of a tf_keras model, or fit, predict and export of any "
            "other",
            field="recipe",
            given=reference,
            fix="give it one of the two (docs/recipes.md)",
        )
    tolerance_of(recipe)  # a wrong one is said now, and not behind a training
    return recipe
