"""The encoder of images: records hold the files as they are, pixels are made where a model is run."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shipway.artifacts import FeatureSpec
from shipway.errors import CorruptArtifact, InvalidData
from shipway.recipes.arrays import Encoded
from shipway.recipes.images.params import EncoderParams
from shipway.tasks import Task, classes_in

if TYPE_CHECKING:
    import polars as pl

FORMAT = 1  # of encoder.json


class ImageEncoder:
    """Implements `shipway.recipes.base.Encoder` and `Packs`.

    Args:
        params: What was fitted.
        labels: Names of the classes or tags by id.
    """

    def __init__(self, params: EncoderParams, labels: Sequence[str]) -> None:
        self.params = params
        self._labels = list(labels)

    @property
    def labels(self) -> list[str]:
        """Names of the classes or tags; the position is the id."""
        return self._labels

    @property
    def features(self) -> dict[str, FeatureSpec]:
        """`image`, uint8 (size, size, channels)."""
        size = self.params.size
        return {"image": FeatureSpec(dtype="uint8", shape=[size, size, self.params.channels])}

    @property
    def packed(self) -> dict[str, FeatureSpec]:
        """`image`, the file's bytes."""
        return {"image": FeatureSpec(dtype="bytes", shape=[])}

    def pack(self, values: Sequence[bytes]) -> Encoded:
        """The files' bytes, an array of objects."""
        files = np.empty(len(values), dtype=object)
        files[:] = values
        return {"image": files}

    def unpack(self, records: Encoded, features: Collection[str]) -> Encoded:
        """The pixels of files, as `encode` gives them."""
        files = records["image"]
        assert isinstance(files, np.ndarray)
        return self.encode(files)  # type: ignore[arg-type]

    def encode(self, values: Sequence[bytes]) -> Encoded:
        """The pixels of files, uint8 (n, size, size, channels).

        Raises:
            BadImage: a file is no whole image; its message is the reason.
        """
        from shipway.inputs.image.decode import decode

        size = self.params.size
        pixels = np.empty((len(values), size, size, self.params.channels), dtype=np.uint8)
        for row, file in enumerate(values):
            pixels[row] = decode(file, size, self.params.channels)
        return {"image": pixels}

    def to_document(self) -> dict[str, Any]:
        """A few hundred bytes: what was asked for, and the names."""
        return {"format": FORMAT, "params": self.params.model_dump(mode="json"), "labels": self._labels}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> ImageEncoder:
        """The encoder that `to_document` described.

        Raises:
            CorruptArtifact: it is none, or a newer one.
        """
        try:
            if document["format"] != FORMAT:
                raise ValueError(f"format {document['format']!r}, this version reads {FORMAT}")
            return cls(EncoderParams.model_validate(document["params"]), [str(name) for name in document["labels"]])
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptArtifact(f"encoder.json: {type(error).__name__}: {error}; run prep again") from error


def fit(rows: Iterable[pl.DataFrame], params: EncoderParams, task: Task) -> ImageEncoder:
    """Collects the names of classes or tags over a stream of frames.

    Raises:
        InvalidData: there are no rows.
    """
    names: set[str] = set()
    has_rows = False
    for frame in rows:
        names |= classes_in(task, frame["label"].drop_nulls())
        has_rows |= len(frame) > 0
    if not has_rows:
        raise InvalidData("the training split has no rows; an encoder needs some to fit on", field="encode")
    return ImageEncoder(params, sorted(names))
