"""Evaluation's held-out rows, sent through HTTP."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shipway.artifacts import EvaluationRecord
from shipway.components.deploy.core import CheckResult, chosen_rows, compare
from shipway.components.predict.core import Client
from shipway.errors import CorruptArtifact, ShipwayError

BATCH = 32
LATENCY_ROWS = 200


@dataclass(frozen=True)
class KeptRows:
    """What evaluation kept: texts, and probabilities float32 (n, classes) by class name."""

    texts: list[str]
    labels: list[str]
    probabilities: NDArray[np.float32]


def kept_rows(evaluation: EvaluationRecord, wanted: int) -> KeptRows:
    """A fixed sample of the kept predictions.

    Raises:
        CorruptArtifact: the file differs from its hash, or has no probabilities.
    """
    import polars as pl

    from shipway.storage import open_folder

    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "predictions.parquet"
        file = evaluation.predictions
        open_folder(evaluation.uri).download(file.path, path, sha256=file.sha256)
        frame = pl.read_parquet(path, columns=["text", "probabilities"], glob=False)
    frame = frame[chosen_rows(len(frame), wanted)]
    if frame.is_empty():
        raise CorruptArtifact(f"{evaluation.uri}/{file.path}: holds no predictions; evaluate again with --fresh")
    probabilities = np.array(frame["probabilities"].to_list(), dtype=np.float32)
    if probabilities.shape != (len(frame), len(evaluation.labels)):
        raise CorruptArtifact(
            f"{evaluation.uri}/{file.path}: rows have {probabilities.shape[1:]} probabilities, "
            f"the record names {len(evaluation.labels)} labels; evaluate again with --fresh"
        )
    return KeptRows(frame["text"].to_list(), evaluation.labels, probabilities)


def check_endpoint(url: str, kept: KeptRows, tolerance: float, version: int | None = None) -> CheckResult:
    """Asks the endpoint for every kept row and compares.

    Args:
        url: Predict URL (V1).
        kept: Rows and what to expect of them.
        tolerance: Largest difference of a probability that is allowed.
        version: That must answer; None: whichever does.

    Raises:
        ShipwayError: another version answers, or one with other labels.
        UserError: nobody answers.
    """
    served = np.full_like(kept.probabilities, np.nan)
    latencies = []
    column = {label: i for i, label in enumerate(kept.labels)}
    with Client(url) as client:
        client.predict(kept.texts[:1])  # opens the connection, which is no part of a request's time
        single = min(len(kept.texts), LATENCY_ROWS)
        batches = [slice(i, i + 1) for i in range(single)]
        batches += [slice(i, i + BATCH) for i in range(single, len(kept.texts), BATCH)]
        for rows in batches:
            began = time.perf_counter()
            answers = client.predict(kept.texts[rows], top_k="all")
            if rows.stop - rows.start == 1:
                latencies.append((time.perf_counter() - began) * 1000)
            for i, answer in enumerate(answers, rows.start):
                if version is not None and answer.model_version != str(version):
                    raise ShipwayError(
                        f"{client.url}: version {answer.model_version or 'unknown'} answers, expected {version}; "
                        "is another deployment of this endpoint running?"
                    )
                if set(answer.probabilities) != set(column):
                    odd = sorted(set(answer.probabilities) ^ set(column))
                    raise ShipwayError(f"{client.url}: other labels than evaluation's: {', '.join(odd[:5])}")
                for label, probability in answer.probabilities.items():
                    served[i, column[label]] = probability
    return compare(kept.texts, kept.labels, kept.probabilities, served, tolerance, latencies)
