"""Recipes of any framework: what one brings that fits and exports its model itself, and what it is given.

Nothing here imports a framework, TensorFlow least of all: the image of such a recipe need not hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from numpy.typing import NDArray
from pydantic import BaseModel

from shipway.errors import InvalidSpec, UserError
from shipway.recipes.arrays import Encoded

if TYPE_CHECKING:
    from shipway.recipes.base import Encoder, Recipe

OF_ONE_GRAPH = ("parameter_server",)  # strategies that share out a TensorFlow graph, not rows
Arrays = dict[str, "NDArray[Any]"]
Rows = tuple[Encoded, Encoded]  # encoded features of some rows, and their targets


class Fitting(Protocol):
    """What `fit` is given of one training.

    Attributes:
        seed, epochs, batch_size: Of the spec; what they mean is the recipe's to say.
        threads: That this process may use.
        rank, size: This worker's number among those of the job; 0 of 1 but for a recipe that names more `strategies`.
        folder: Private, empty in a fresh training; in one that goes on it holds what `save` kept. That came from the
            store: read it in a way that runs nothing (no pickle).
        is_best: Whether the model that `report` was last told of is the best so far on the eval split.
    """

    seed: int
    epochs: float
    batch_size: int
    threads: int
    rank: int
    size: int
    folder: Path
    is_best: bool

    def rows(self, split: str) -> Rows:
        """All rows of `train` or `eval`, at once; of `train` this worker's."""
        ...

    def batches(self, split: str, epoch: int = 0, size: int | None = None) -> Iterator[Rows]:
        """A split once, in batches: no more is in memory than a batch and a little.

        Of `train` this worker's rows, the shards in another order in each epoch (prep shuffled all rows once).

        Args:
            split: `train` or `eval`.
            epoch: Which pass; the same pass gives the same batches.
            size: Rows of a batch; None: the spec's `batch_size`.
        """
        ...

    def report(self, step: int, model: Any, **figures: float) -> bool:
        """Measures a model in the making on the eval split, and tells progress and a sweep.

        Args:
            step: How far the fit is, in whatever it counts; growing.
            model: What `predict` takes.
            figures: More to tell, a loss of training rows.

        Returns:
            Whether to go on: False once early stopping or the sweep has seen enough.
        """
        ...

    def save(self) -> None:
        """Keeps the folder's files in the store: a killed fit is started again with them. Of trials nothing is kept."""
        ...


@runtime_checkable
class FitsItself(Protocol):
    """What a recipe has beside `Recipe` in place of a tf_keras model.

    It may have these attributes, too:
        strategies: Those that its `fit` can do; `("single",)` where it says nothing.
        image: Reference of the container image that it is fitted in; `training.image` counts before it.
        packages: Names, as pip knows them, of what `fit` and `export` need.
    """

    def fit(self, params: BaseModel, encoder: Encoder, fitting: Fitting) -> Any:
        """The fitted model, whatever the framework calls one.

        Args:
            params: The recipe's Params.
            encoder: The dataset's.
            fitting: Rows, progress, checkpoints.
        """
        ...

    def predict(self, model: Any, features: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """The task's served tensors by the framework's own code: what the export is held against.

        Args:
            model: As `fit` gives it, or as it told `report`.
            features: Encoded and padded, as a predictor has them, first dimension the batch.

        Returns:
            Of `classification` `probabilities` (n, classes); of `regression` `value` (n,); of `tagging` `scores`
            (n, tags); of `spans` `tags` and `scores`, each (n, length).
        """
        ...

    def export(self, model: Any, params: BaseModel, encoder: Encoder) -> bytes:
        """The model as an ONNX file: inputs named as features of the encoder, outputs as in `predict`.

        Others among its outputs are not served.
        """
        ...


def strategies_of(recipe: Recipe, known: Sequence[str]) -> tuple[str, ...]:
    """The strategies that a recipe can be trained by.

    Args:
        recipe: One that says nothing can do all with a tf_keras model, and `single` with a fit of its own.
        known: All that there are.

    Raises:
        InvalidSpec: it names one that there is not.
    """
    if isinstance(recipe, FitsItself):
        known = [name for name in known if name not in OF_ONE_GRAPH]
    named = _names(recipe, "strategies") or (("single",) if isinstance(recipe, FitsItself) else tuple(known))
    if unknown := [name for name in named if name not in known]:
        raise InvalidSpec(field=f"recipe {recipe.name}: strategies", given=unknown[0], allowed=known)
    return named


def _names(recipe: Recipe, attribute: str) -> tuple[str, ...]:
    """An optional attribute that holds names; one alone may stand for itself."""
    given = getattr(recipe, attribute, ())
    return (given,) if isinstance(given, str) else tuple(given)


def own_image(recipe: Recipe) -> str:
    """The image that a recipe names for its training; empty where it names none."""
    return str(getattr(recipe, "image", ""))


def packages_of(recipe: Recipe) -> dict[str, str]:
    """Versions of the packages that a recipe says it is fitted with.

    Raises:
        UserError: one is not installed here.
    """
    versions = {}
    for name in _names(recipe, "packages"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            raise missing_package(recipe, name) from None
    return versions


def missing_package(recipe: Recipe, name: str) -> UserError:
    """What to say where a recipe needs a package that this place lacks."""
    return UserError(
        f"it needs {name}, which is not installed here",
        field=f"recipe {recipe.name}",
        fix=(
            "install it where the run is, and for a cluster name an image that holds it: "
            "training.image, or the recipe's own `image`"
        ),
    )
