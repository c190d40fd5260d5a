"""Our predictor of a model that asks `use-multilingual-3`, against the same model without it; one text a request.

    python -m benchmarks serve_language

Sentences of five languages, none asked twice before all were. Both servers are one process each and are asked in turn,
as in `serve`; so is what the machine must be: otherwise idle.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.encode import NAME, sentences
from benchmarks.overload import _memory_mb
from benchmarks.serve import _measure, _server, prepare

CLIENT_GOAL_MS = 3.0  # p50, one client
CLIENTS_GOAL = 1000.0  # requests a second, 16 clients


def main() -> dict[str, Any]:
    """Ratio of requests per second at 16 clients; the goals are of the one with the encoder alone."""
    folder = Path(tempfile.mkdtemp(prefix="shipway-bench-"))
    try:
        texts = folder / "texts.json"
        texts.write_text(json.dumps(sentences(folder)), encoding="utf-8")
        _, with_it, its = prepare(folder / "with", NAME)
        _, without, env = prepare(folder / "without")
        with _server(with_it, its, folder) as (port, ready_s), _server(without, env, folder) as (other, other_ready_s):
            measured = _measure({"with": port, "without": other}, texts)
            memory_mb = {"with": round(_memory_mb(port)), "without": round(_memory_mb(other))}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    ours, others = measured["with"], measured["without"]
    failures = sum(line["failures"] for side in measured.values() for line in side.values())
    is_met = ours[1]["p50_ms"] < CLIENT_GOAL_MS and ours[16]["requests_per_s"] >= CLIENTS_GOAL and not failures
    return {
        "name": "serve_language",
        "ratio": round(ours[16]["requests_per_s"] / others[16]["requests_per_s"], 2),
        "goal": f"p50 below {CLIENT_GOAL_MS:g} ms with one client, {CLIENTS_GOAL:,.0f} requests/s with 16",
        "meets_goal": is_met,
        "baseline": "the same model and predictor without a sentence encoder, requests/s at 16 clients",
        "details": {
            side: {f"clients_{n}": line for n, line in measured[side].items()}
            | {"ready_s": round(seconds, 1), "memory_mb": memory_mb[side]}
            for side, seconds in (("with", ready_s), ("without", other_ready_s))
        },
    }


if __name__ == "__main__":
    print(json.dumps(main(), sort_keys=True))
