"""Rows with their vectors on scratch disk, for an encoder that has some: written by the processes that encode, read
when all are done, in the order of the source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from shipway.components.prep.hashes import U64, hash_strings, mix
from shipway.components.prep.schema import Schema
from shipway.components.prep.spill import append_frame, iter_frames
from shipway.errors import InvalidSpec
from shipway.language.nearest import unit

KEPT = 1_000_000  # rows, about: 1 GB of scratch disk for vectors of 512 numbers
TEXT_CHARS = 160
BLOCK = 8_192
ROWS, VECTORS = "vectored-rows", "vectored"
SALT = np.uint64(0x5CA1AB1E)  # rows are drawn here by another hash than the one that orders them

Vectors = NDArray[np.float16]


@dataclass(frozen=True)
class Spill:
    """Where one process puts rows with vectors.

    Attributes:
        share: Of the rows that are kept, chosen by a hash of each.
    """

    scratch: Path
    owner: str
    split: str
    share: float

    def add(self, rows: pl.DataFrame, vectors: NDArray[np.float32], schema: Schema, recipe: str) -> None:
        """Adds a chunk.

        Args:
            rows: With the input's columns, `label`, `_piece`, `_row` and `_row_hash`.
            vectors: float32 (n, width).
            schema: The dataset's.
            recipe: Whose vectors they are, for messages.

        Raises:
            InvalidSpec: a recipe of one's own gives no vector of finite numbers for each row.
        """
        if vectors.ndim != 2 or len(vectors) != len(rows) or not np.isfinite(vectors).all():
            raise InvalidSpec(
                f"its encoder's vectors of {len(rows)} rows have shape {vectors.shape}",
                field=f"recipe {recipe!r}",
                allowed=f"finite numbers of shape ({len(rows)}, width)",
            )
        order = mix(rows.get_column("_row_hash").to_numpy() ^ SALT)
        if self.share < 1:
            chosen = order < np.uint64(self.share * 2**64)
            rows, vectors, order = rows.filter(pl.Series(chosen)), vectors[chosen], order[chosen]
        kept = rows.select(
            "_piece",
            pl.col("_row").cast(pl.Int64),
            pl.Series("order", order),
            pl.lit(self.split).alias("split"),
            "label",
            pl.Series("content", hash_strings(rows.select(schema.kind.content()).to_series())),
            pl.Series("text", schema.kind.preview(rows)).str.slice(0, TEXT_CHARS),
        )
        append_frame(self.scratch / f"{ROWS}.{self.owner}", kept)
        with (self.scratch / f"{VECTORS}.{self.owner}").open("ab") as file:
            unit(vectors).astype("<f2").tofile(file)


@dataclass(frozen=True)
class Vectored:
    """Rows with vectors, in the order of the source, whatever process wrote them.

    Attributes:
        rows: `_piece`, `_row`, `order` (by which rows are drawn), `split`, `label`, `content`.
        vectors: float16 (n, width), a file; each of length 1, or zeros.
    """

    rows: pl.DataFrame
    vectors: Vectors
    scratch: Path
    written: NDArray[np.int64]  # each row's place in the files as they were written

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, places: Sequence[int]) -> dict[int, str]:
        """What a person sees of some rows, by place; read from disk."""
        place_of = {int(self.written[place]): place for place in places}
        texts, start = {}, 0
        for frame in iter_frames(self.scratch, ROWS):
            inside = [number for number in place_of if start <= number < start + len(frame)]
            column = frame.get_column("text")
            texts.update({place_of[number]: column[number - start] or "" for number in inside})
            start += len(frame)
        return texts

    def drawn(self, places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
        """At most so many of these rows, chosen by a hash and in its order."""
        order: U64 = self.rows.get_column("order").to_numpy()[places]
        return places[np.lexsort((places, order))[:most]]


def read(scratch: Path) -> Vectored | None:
    """All rows that were kept; None where no encoder gave vectors."""
    frames = [frame.drop("text") for frame in iter_frames(scratch, ROWS)]
    rows = pl.concat(frames) if frames else pl.DataFrame()
    if not len(rows):
        return None
    paths = sorted(scratch.glob(f"{VECTORS}.*"))
    width = sum(path.stat().st_size for path in paths) // (2 * len(rows))
    given: list[Vectors] = [np.memmap(path, "<f2", "r").reshape(-1, width) for path in paths if path.stat().st_size]
    places = rows.select(pl.arg_sort_by("_piece", "_row")).to_series().to_numpy().astype(np.int64)
    together = scratch / "vectors-in-order"
    with together.open("wb") as file:
        for block in _in_order(given, places):
            block.tofile(file)
    for path in paths:
        path.unlink()
    return Vectored(rows[places], np.memmap(together, "<f2", "r").reshape(-1, width), scratch, places)


def _in_order(given: list[Vectors], places: NDArray[np.int64]) -> Iterator[Vectors]:
    ends = np.cumsum([len(part) for part in given])
    for start in range(0, len(places), BLOCK):
        wanted = places[start : start + BLOCK]
        part = np.searchsorted(ends, wanted, side="right")
        block = np.empty((len(wanted), given[0].shape[1]), "<f2")
        for number, vectors in enumerate(given):
            mine = part == number
            block[mine] = vectors[wanted[mine] - (ends[number] - len(vectors))]
        yield block
