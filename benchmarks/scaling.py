"""Examples a second of two workers over one, a core pinned to each; batch 64 a worker.

    python -m benchmarks scaling        about ten minutes; horovod where it is installed (make horovod)

Three models: `intents` on 77 classes (10 million weights of which a batch moves few), a CNN (much to compute, little to
send) and an MLP of 10 million weights (the other way round). Ideal is 2.0. A ps shares the two cores with the workers,
which on a cluster it does not.
"""

from __future__ import annotations

import importlib.util
import json
import os
import statistics
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks._train_data import dataset

ROOT = Path(__file__).resolve().parents[1]
MODELS = {  # recipe, steps
    "intents": ("intents", 240),
    "cnn": ("benchmarks._scaling_recipes:cnn", 60),
    "mlp": ("benchmarks._scaling_recipes:mlp", 120),
}
STRATEGIES = ("multi_worker", "horovod", "parameter_server")
GOALS = {"intents": 0.80, "cnn": 0.85, "mlp": 0.60}  # of twice one worker's, by the best strategy
ROWS, CLASSES, BATCH = 9_000, 77, 64
WARM = 10  # steps: the first are traced
ROUNDS = 3


def pin(uid: str, ended: threading.Event) -> None:
    """Keeps each replica that computes on a core of its own, threads that it makes later too."""
    from shipway.executors.process import reaper

    cores = sorted(os.sched_getaffinity(0))
    while not ended.wait(0.2):
        for pid in reaper.find(uid):
            with suppress(OSError, ValueError):
                variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                name = next(each[16:].decode() for each in variables if each.startswith(b"SHIPWAY_REPLICA="))
                role, _, index = name.rpartition("-")
                if role in ("ps", "launcher"):
                    continue
                first = any(each.startswith(b"TF_CONFIG=") for each in variables) and role == "worker"
                core = cores[(int(index) + first) % len(cores)]
                for task in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setaffinity(int(task), {core})


def examples_per_s(recipe: str, steps: int, strategy: str, workers: int, uri: str, name: str) -> float:
    """Of one training's steps behind the first, by what the chief wrote down."""
    from shipway import executors
    from shipway.components.train.core import render
    from shipway.components.train.spec import TrainingSpec
    from shipway.context import Context
    from shipway.executors import identity
    from shipway.executors.outcomes import raise_for
    from shipway.executors.process.folder import JobFolder

    context = Context.current()
    spec = TrainingSpec(
        name="scaling", recipe=recipe, strategy=strategy, workers=workers, steps=steps, batch_size=BATCH,
        checkpoint_steps=steps, early_stopping=None,
    )  # fmt: skip
    manifest = identity.stamp(
        render(spec, name, uri, store_uri=context.store_uri), name="scaling", run=context.run, task="train", job=name
    )
    executor = executors.current()
    handle, ended = executor.ensure(manifest), threading.Event()
    folder = context.home / "jobs" / handle.name
    uid = str((JobFolder(folder).read("plan.json") or {})["uid"])
    pinning = threading.Thread(target=pin, args=(uid, ended), daemon=True)
    pinning.start()
    try:
        raise_for(executor.follow(handle), handle)
    finally:
        ended.set()
        pinning.join()
    lines = [
        json.loads(line)
        for path in folder.glob("replicas/*/*.progress.jsonl")
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    lines = [line for line in lines if not line.get("interval") and line["step"] >= WARM]
    first, last = min(lines, key=lambda line: line["step"]), max(lines, key=lambda line: line["step"])
    return float((last["step"] - first["step"]) * BATCH * workers / (last["at"] - first["at"]))


def main() -> dict[str, Any]:
    """The worst model's share of twice one worker's examples a second, by the strategy that is fastest there."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    sys.path.insert(0, str(ROOT))
    strategies = [name for name in STRATEGIES if name != "horovod" or importlib.util.find_spec("horovod") is not None]
    seen: dict[str, dict[str, list[float]]] = {}
    with dataset(ROWS, 4, classes=CLASSES, recipes=[recipe for recipe, _ in MODELS.values()]) as (_, folder):
        os.environ |= {"SHIPWAY_HOME": str(folder / "home"), "SHIPWAY_STORE": "s3://shipway"}
        for turn in range(ROUNDS):
            for number, (model, (recipe, steps)) in enumerate(MODELS.items()):
                for strategy in ("single", *strategies):
                    workers = 1 if strategy == "single" else 2
                    name = f"{model}-{strategy.replace('_', '-')}-{turn}"
                    rate = examples_per_s(recipe, steps, strategy, workers, f"s3://shipway/bench/{number}", name)
                    seen.setdefault(model, {}).setdefault(strategy, []).append(rate)
                    print(json.dumps({name: round(rate)}), file=sys.stderr, flush=True)
    rates = {model: {strategy: statistics.median(each) for strategy, each in by.items()} for model, by in seen.items()}
    shares = {
        model: {strategy: round(each / by["single"] / 2, 3) for strategy, each in by.items() if strategy != "single"}
        for model, by in rates.items()
    }
    best = {model: max(by.values()) for model, by in shares.items()}
    return {
        "name": "scaling",
        "ratio": min(best.values()),
        "goal": ", ".join(f"{model} {goal:.2f}" for model, goal in GOALS.items()),
        "meets_goal": all(best[model] >= goal for model, goal in GOALS.items()),
        "baseline": "twice the examples a second of strategy single, one core pinned to each worker",
        "details": {
            "batch": BATCH, "rounds": ROUNDS, "shares": shares,
            "examples_per_s": {
                model: {name: [round(rate) for rate in rates] for name, rates in by.items()}
                for model, by in seen.items()
            },
        },
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(main(), sort_keys=True))
