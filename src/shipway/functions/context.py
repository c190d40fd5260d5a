"""What a training function is given as its parameter `context`: its folder, its data, its part in the job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from shipway.errors import InvalidSpec


@dataclass
class TrainingContext:
    """A replica's surroundings.

    Attributes:
        folder: What the chief leaves here is kept in the store and is here again when a killed training goes on; of
            other workers it is a folder of their own, and gone when they end. Write checkpoints into it.
        rank: From 0; 0 is the chief.
        workers: How many there are.
        strategy: `single`, `mirrored`, `multi_worker` or `horovod`.
        data: Name -> file or folder on this machine, of what the training was given.
        seed: Of the training's random numbers.
        restart: How often the training was begun before.
    """

    folder: Path
    rank: int = 0
    workers: int = 1
    strategy: str = "single"
    data: Mapping[str, Path] = field(default_factory=dict)
    seed: int = 0
    restart: int = 0
    _keep: Callable[[], None] = field(default=lambda: None, repr=False)

    @property
    def is_chief(self) -> bool:
        """Whether what this worker leaves in its folder is kept."""
        return self.rank == 0

    @cached_property
    def logs(self) -> Path:
        """Files for TensorBoard; the chief's are uploaded as they grow.

        What it reports (`shipway.report`) stands there by itself, where the function has imported TensorFlow.
        """
        path = self.folder / "logs"
        path.mkdir(parents=True, exist_ok=True)
        return path

    def save(self) -> None:
        """Keeps the folder as it is now; left out, it is kept whenever nothing in it changes for a second, and at the
        end."""
        self._keep()

    def distribution(self) -> Any:
        """The `tf.distribute` strategy, made at the first call: build and compile the model in its scope.

        Raises:
            InvalidSpec: with horovod there is none: `import horovod.tensorflow.keras as hvd; hvd.init()`.
        """
        if self.strategy == "horovod":
            raise InvalidSpec(
                "horovod has no tf.distribute strategy",
                field="context.distribution()",
                fix="call hvd.init() and wrap the optimizer by hvd.DistributedOptimizer",
            )
        return self._distribution

    @cached_property
    def _distribution(self) -> Any:
        import tensorflow as tf

        from shipway.training.distribution import Mirrored, MultiWorker

        if self.strategy == "multi_worker":
            return MultiWorker().strategy
        return Mirrored().strategy if self.strategy == "mirrored" else tf.distribute.get_strategy()
