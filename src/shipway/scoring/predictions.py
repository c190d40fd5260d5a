"""Predictions by row, kept as Parquet; written a piece at a time, so that a test set may be larger than memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import polars as pl

from shipway.scoring.session import ModelSession


def predict_rows(
    session: ModelSession, frames: Iterable[pl.DataFrame], path: Path, *, batch_size: int = 256
) -> pl.DataFrame:
    """Scores rows and keeps what the model said of each.

    Args:
        session: The model.
        frames: As `read_rows` gives them.
        path: Parquet file to write: row_id, group_hash, label, predicted, probability (of the predicted label),
            label_probability (of the true label, 0 where the model doesn't know it), probabilities (list of float32 in
            the order of the model's labels), text, and the frames' other columns.
        batch_size: Rows in one inference.

    Returns:
        The narrow columns, label, predicted, probability, label_probability and group_hash: all that metrics need.
    """
    ids = {label: i for i, label in enumerate(session.labels)}
    narrow: list[pl.DataFrame] = []
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="shipway-predictions-", dir=path.parent) as folder:
        for number, frame in enumerate(frames):
            scored = _score(session, frame, ids, batch_size)
            scored.write_parquet(Path(folder) / f"{number:06d}.parquet")
            narrow.append(scored.select(NARROW))
        pl.scan_parquet(sorted(Path(folder).glob("*.parquet")), glob=False).sink_parquet(path)
    return pl.concat(narrow)


NARROW = ("label", "predicted", "probability", "label_probability", "group_hash")


def _score(session: ModelSession, frame: pl.DataFrame, ids: dict[str, int], batch_size: int) -> pl.DataFrame:
    probabilities = session.predict(frame["text"].to_list(), batch_size=batch_size)
    best = probabilities.argmax(axis=1)
    rows = np.arange(len(frame))
    truth = np.array([ids.get(label, -1) for label in frame["label"]], dtype=np.int64)
    names = pl.Series(session.labels, dtype=pl.String)
    return frame.select(
        "row_id",
        "group_hash",
        "label",
        names.gather(best).alias("predicted"),
        pl.Series("probability", probabilities[rows, best], dtype=pl.Float32),
        pl.Series("label_probability", np.where(truth >= 0, probabilities[rows, truth], 0.0), dtype=pl.Float32),
        pl.Series("probabilities", probabilities, dtype=pl.Array(pl.Float32, probabilities.shape[1])).arr.to_list(),
        "text",
        *(name for name in frame.columns if name not in ("row_id", "group_hash", "label", "text")),
    )
