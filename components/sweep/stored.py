"""Sweeps as the store has them: found, read, told to stop, by the records that their engines left, from any machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep import core, experiment
from shipway.components.sweep.ledger import Ledger
from shipway.components.sweep.spec import SweepSpec
from shipway.components.sweep.summary import make_record
from shipway.errors import CorruptArtifact, NotFound, ShipwayError, nearest
from shipway.specs import parse
from shipway.storage import Store, open_folder

ALIVE_S = 60.0  # an engine shows a sign of life every other second
RUNNING, ENDED, STOPPED, FAILED, INTERRUPTED = "Running", "Ended", "Stopped", "Failed", "Interrupted"


@dataclass(frozen=True)
class Listed:
    """A sweep's folder, from its listing alone.

    Attributes:
        name: Of the folder.
        changed: When anything in it last changed, seconds since 1970.
        trials: How many have a record.
        beat: When its engine last showed that it lives; None: it left nothing of the kind.
    """

    name: str
    changed: float
    trials: int
    beat: float | None


@dataclass(frozen=True)
class StoredSweep:
    """A sweep.

    Attributes:
        state: `Running`, `Ended`, `Stopped` (by a person), `Failed`, or `Interrupted`: its engine went without a word.
        why: What ended it, where something did.
        spec: What it searches.
        dataset: Fingerprint of what it trains on; empty for functions.
        record: Its trials so far; all of them where it ended.
    """

    name: str
    uri: str
    state: str
    why: str
    changed: float
    spec: SweepSpec
    dataset: str
    record: SweepRecord

    @property
    def best(self) -> TrialRecord | None:
        """The trial that it would end with now."""
        return next((trial for trial in self.record.trials if trial.number == self.record.best_trial), None)

    def climb(self) -> list[tuple[int, float]]:
        """(trial, best value up to it), of those that were finished."""
        sign = 1 if self.record.direction == "maximize" else -1
        points: list[tuple[int, float]] = []
        for trial in self.record.trials:
            if trial.state == "Succeeded":
                value = core.final_value(self.spec.objective, trial.metrics, trial.history)
                points.append((trial.number, max(sign * value, sign * points[-1][1]) * sign if points else value))
        return points


def list_sweeps(store: Store) -> list[Listed]:
    """All sweeps of a store, the newest first."""
    folders: dict[str, list[Any]] = {}
    for info in store.list("sweeps/"):
        parts = info.key.split("/")
        if len(parts) < 3:
            continue
        entry = folders.setdefault(parts[1], [info.modified, 0, None, False])
        entry[0] = max(entry[0], info.modified)
        entry[1] += len(parts) == 5 and parts[2] == "trials" and parts[4] == "record.json"
        entry[3] = entry[3] or parts[2] == "sweep.json"
        if parts[2] == "lease.json":
            entry[2] = info.modified
    listed = [Listed(name, *entry[:3]) for name, entry in folders.items() if entry[3]]
    return sorted(listed, key=lambda each: each.changed, reverse=True)


def find_sweep(store: Store, key: str) -> StoredSweep:
    """A sweep by its name, its name's beginning, or `last`.

    Raises:
        NotFound: there is none, or several begin so.
    """
    listed = list_sweeps(store)
    if not listed:
        raise NotFound(
            "no sweep is stored here yet", field="sweeps", fix="shipway run train_and_deploy, or sweep_function"
        )
    chosen = [each for each in listed if each.name == key] or [each for each in listed if each.name.startswith(key)]
    if key == "last":
        chosen = listed[:1]
    names = [each.name for each in listed]
    if not chosen:
        raise NotFound(
            f"no sweep is called {key!r}{nearest(key, names)}; shipway sweeps list has them all", field="sweeps"
        )
    if len(chosen) > 1:
        raise NotFound(f"{key!r} begins the names of {', '.join(each.name for each in chosen[:5])}", field="sweeps")
    return read_sweep(store, chosen[0])


def read_sweep(store: Store, listed: Listed) -> StoredSweep:
    """A listed sweep's records.

    Raises:
        CorruptArtifact: what it stems from cannot be read.
    """
    uri = f"{store.uri}/sweeps/{listed.name}"
    ledger = Ledger(open_folder(uri))
    origin = ledger.origin()
    try:
        spec = _spec(origin, listed.name)
    except Exception as error:
        raise CorruptArtifact(f"{uri}/sweep.json: {error}: it was edited, or another version wrote it") from error
    lease = ledger.lease() or {}
    trials = [known.record for known in ledger.trials().values() if known.record is not None]
    try:
        record = SweepRecord.from_json(ledger.store.get("record.json"), where=f"{uri}/record.json")
    except NotFound:
        record = None
    state, why = _state(lease, listed)
    if record is not None and state == INTERRUPTED:
        state, why = ENDED, ""  # of a version that left no other word
    if record is None or state != ENDED:
        record = make_record(spec, trials, str(origin.get("dataset", "")), _defaults(spec), None, why)
    return StoredSweep(listed.name, uri, state, why, listed.changed, spec, str(origin.get("dataset", "")), record)


def is_alive(ledger: Ledger, watch_s: float) -> bool:
    """Whether an engine plays it: its sign of life changes while one looks; clocks of two machines differ."""
    first = ledger.lease()
    if not first or first.get("ended"):
        return False
    end = time.monotonic() + watch_s
    while time.monotonic() < end:
        time.sleep(0.2)
        if (lease := ledger.lease()) != first:
            return not (lease or {}).get("ended")
    return False


def _state(lease: dict[str, Any], listed: Listed) -> tuple[str, str]:
    if state := str(lease.get("ended", "")):
        return state, str(lease.get("why", ""))
    if listed.beat is not None and time.time() - listed.beat < ALIVE_S:
        return RUNNING, ""
    return INTERRUPTED, "its engine went without a word"


def _defaults(spec: SweepSpec) -> dict[str, Any]:
    """The first trial's parameters; none where the recipe's code is not on this machine, or the search chose them."""
    try:
        params_model = None if spec.function else core.recipe_of_trials(spec).Params
    except ShipwayError:
        return {}
    return dict(core.defaults(spec, params_model)) if spec.training else {}


def _spec(origin: dict[str, Any], name: str) -> SweepSpec:
    if "experiment" in origin:
        return experiment.read({"metadata": {"name": name[: experiment.NAME_MAX]}, "spec": origin["experiment"]}).spec
    return core.with_objective(parse(SweepSpec, origin["spec"], "sweep"))
