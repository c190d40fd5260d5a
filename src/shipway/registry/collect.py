"""Garbage collection: removes what no alias, endpoint, kept version or running job uses, after a time of grace.

What is in use is never touched, whatever `keep` says:

- versions: the newest `keep`, those that an alias names, the one a rollback would return to, those an endpoint serves
  (all of a name, where an endpoint doesn't say which), and whatever is younger than the grace;
- datasets and evaluations that a kept version names, and all datasets while a job is running;
- jobs that have not ended, and the model of a job that a kept version or evaluation came from;
- sentence encoders that the `encoder.json` of what stays names: a dataset's, a job's model's, a version's;
- whatever a step's record younger than the grace mentions: a cached step hands on what was made long ago.

Documents go before the bulk they name, the reverse of publishing: a reader never meets a document without its bytes.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from shipway.artifacts import EvaluationRecord
from shipway.errors import InvalidSpec
from shipway.registry.aliases import tombstone_key
from shipway.registry.endpoints import endpoints_of
from shipway.registry.record import ModelVersion
from shipway.storage import ObjectInfo, Store

if TYPE_CHECKING:
    from shipway.registry.registry import Registry

_FITTED = "encoder.json"  # a recipe's encoder, and a sentence encoder's description
_DOCUMENTS = ("manifest.json", "record.json", f"/{_FITTED}")
_MENTION = re.compile(r"\b(datasets|encoders|evaluations|jobs)/([\w.-]+)")
_ENCODER = re.compile(rb"\bencoders/([0-9a-f]{64})/")
_HOLD_FITTED = ("datasets/", "jobs/", "models/")


@dataclass(frozen=True)
class Garbage:
    """One thing that nothing uses: a folder of objects, or a version."""

    prefix: str
    why: str
    objects: int
    size_bytes: int


@dataclass(frozen=True)
class GarbageReport:
    """What was removed (or would be) and why each version beyond `keep` stays."""

    dry_run: bool
    removed: list[Garbage] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)  # "name/version" -> why

    @property
    def size_bytes(self) -> int:
        return sum(item.size_bytes for item in self.removed)


def collect_garbage(registry: Registry, name: str | None, *, keep: int, dry_run: bool, grace_s: float) -> GarbageReport:
    """Removes what nothing uses, or lists it.

    Args:
        registry: The registry.
        name: Only the versions of this name; None also cleans jobs, evaluations, datasets and sentence encoders.
        keep: The newest versions of each name that stay in any case, at least 1.
        dry_run: List only.
        grace_s: Nothing younger than this is removed: somebody may be about to use it.

    Raises:
        InvalidSpec: `keep` below 1 or a negative grace.
        NotFound: no model of that name.
        CorruptArtifact: an endpoint's record cannot be read; nothing was removed.
    """
    if keep < 1 or not grace_s >= 0:  # NaN is neither, and would make everything old
        raise InvalidSpec(
            f"keep must be at least 1 and the grace at least 0 s, got keep={keep}, grace={grace_s}", field="gc"
        )
    if name is not None:
        registry.resolve(name)
    sweeper = _Sweeper(registry, keep=keep, dry_run=dry_run, oldest=time.time() - grace_s)
    for each in [name] if name is not None else registry.names():
        sweeper.versions(each)
    if name is None:
        sweeper.bulk()
    return sweeper.report


class _Sweeper:
    def __init__(self, registry: Registry, *, keep: int, dry_run: bool, oldest: float) -> None:
        self.registry = registry
        self.store = registry.store
        self.keep = keep
        self.oldest = oldest
        self.report = GarbageReport(dry_run=dry_run)
        self.doomed: set[tuple[str, int]] = set()

    # --- versions of one name

    def versions(self, name: str) -> None:
        """Removes a name's versions that are not in use, then content that no version names."""
        used = self._used(name)
        for number in self.registry.versions(name):
            key = f"models/{name}/versions/{number}.json"
            info = self.store.head(key)
            if info is None:
                continue
            why = used.get(number) or ("younger than the grace" if self._is_young([info]) else None)
            if why is None:
                self._remove_version(name, number)
            elif why != "newest":
                self.report.kept[f"{name}/{number}"] = why
            if why is not None and not self.report.dry_run:
                self.store.delete(tombstone_key(name, number))  # of a collection that was stopped half-way
        kept = {self._key(self.registry.get(name, number).model.uri) for number in self._kept(name)}
        for digest, _ in _folders(self.store, f"models/{name}/content/"):
            for variants, objects in _folders(self.store, f"models/{name}/content/{digest}/"):
                prefix = f"models/{name}/content/{digest}/{variants}"
                if prefix not in kept and not self._is_young(objects):
                    self._remove(f"{prefix}/", objects, "no version has these files")
        if not self.report.dry_run:
            self._clear_remains(name)

    def _clear_remains(self, name: str) -> None:
        """Cards, decisions and tombstones of versions that are gone: a collection was stopped behind the version."""
        remains = [
            info
            for folder in ("cards", "decisions", "tombstones")
            for info in self.store.list(f"models/{name}/{folder}/")
        ]
        # Versions after cards: one that is registered meanwhile has its version before its card.
        there = {str(number) for number in self.registry.versions(name)}
        if gone := [info.key for info in remains if info.key.rsplit("/", 1)[1].split(".")[0] not in there]:
            self.store.delete(*gone)

    def _used(self, name: str) -> dict[int, str]:
        """Version -> why it must stay."""
        numbers = self.registry.versions(name)
        used = dict.fromkeys(numbers[-self.keep :], "newest")
        if (back := self.registry.rollback_target(name)) is not None:
            used[back] = "a rollback returns to it"
        for alias, number in self.registry.aliases(name).items():
            used[number] = f"alias {alias}"
        for endpoint in endpoints_of(self.store, name):
            for number in numbers if endpoint.version is None else [endpoint.version]:
                used[number] = f"endpoint {endpoint.name} serves it"
        return used

    def _remove_version(self, name: str, number: int) -> None:
        """A tombstone first: an alias that is moved to this version meanwhile sees it, or is seen here."""
        cards = [info for kind in ("md", "html") if (info := self.store.head(f"models/{name}/cards/{number}.{kind}"))]
        key = f"models/{name}/versions/{number}.json"
        document = self.store.head(key)
        if not self.report.dry_run:
            self.store.put(tombstone_key(name, number), b"{}")
            if (reason := self._used(name).get(number)) is not None:
                self.store.delete(tombstone_key(name, number))
                self.report.kept[f"{name}/{number}"] = reason
                return
        self.doomed.add((name, number))
        self._remove(
            key, [info for info in [document, *cards] if info], f"not among the newest {self.keep}, not in use"
        )
        if not self.report.dry_run:
            self.store.delete(tombstone_key(name, number))

    def _kept(self, name: str) -> list[int]:
        return [number for number in self.registry.versions(name) if (name, number) not in self.doomed]

    # --- jobs, evaluations, datasets

    def bulk(self) -> None:
        """Removes the bulk that no kept version names."""
        kept = [self.registry.get(name, number) for name in self.registry.names() for number in self._kept(name)]
        evaluations = {self._key(v.evaluation.uri) for v in kept if v.evaluation}
        models = {self._key(version.source_uri) for version in kept}
        datasets = {self._key(uri) for version in kept for uri in _datasets(version)}
        recent = self._recently_mentioned()
        evaluations, models, datasets = evaluations | recent, models | recent, datasets | recent
        for identity, objects in _folders(self.store, "evaluations/"):
            prefix = f"evaluations/{identity}"
            if prefix not in evaluations and not self._is_young(objects):
                self._remove(f"{prefix}/", objects, "no kept version was judged by it")
            else:
                models |= self._evaluated_models(prefix, objects)
        running = self._jobs(models)
        for fingerprint, objects in _folders(self.store, "datasets/"):
            prefix = f"datasets/{fingerprint}"
            if prefix not in datasets and not running and not self._is_young(objects):
                self._remove(f"{prefix}/", objects, "no kept version was trained or judged on it")
        self._sentence_encoders(recent)

    def _sentence_encoders(self, recent: set[str]) -> None:
        """Removes those that nothing of what stays asks; prep and `publish` make young again what they name."""
        old = [each for each in _folders(self.store, "encoders/") if not self._is_young(each[1])]
        if not old:
            return
        gone = tuple(item.prefix for item in self.report.removed)
        asked = {prefix.removeprefix("encoders/") for prefix in recent if prefix.startswith("encoders/")}
        for info in (info for top in _HOLD_FITTED for info in self.store.list(top)):
            if info.key.endswith(f"/{_FITTED}") and not info.key.startswith(gone):
                asked |= {found.decode() for found in _ENCODER.findall(self.store.get(info.key))}
        for digest, objects in old:
            if digest not in asked:
                self._remove(f"encoders/{digest}/", objects, "no dataset and no model asks this sentence encoder")

    def _jobs(self, models: set[str]) -> bool:
        """Cleans jobs that have ended; says whether one is running."""
        running = False
        for job, objects in _folders(self.store, "jobs/"):
            ended = any(info.key == f"jobs/{job}/outcome.json" for info in objects)
            if self._is_young(objects):
                running = running or not ended
                continue
            checkpoints = [info for info in objects if info.key.startswith(f"jobs/{job}/checkpoints/")]
            if checkpoints:
                self._remove(f"jobs/{job}/checkpoints/", checkpoints, "its job has ended")
            model = [info for info in objects if info.key.startswith(f"jobs/{job}/model/")]
            if model and f"jobs/{job}/model" not in models:
                self._remove(f"jobs/{job}/model/", model, "no kept version came from it")
        return running

    def _recently_mentioned(self) -> set[str]:
        """`datasets/<id>`, `encoders/<id>`, `evaluations/<id>` and `jobs/<id>/model` that young step records name."""
        mentioned: set[str] = set()
        for info in self.store.list("runs/"):
            if info.key.endswith(".json") and self._is_young([info]):
                text = self.store.get(info.key).decode(errors="replace")
                for kind, identity in _MENTION.findall(text):
                    mentioned.add(f"{kind}/{identity}/model" if kind == "jobs" else f"{kind}/{identity}")
        return mentioned

    def _evaluated_models(self, prefix: str, objects: list[ObjectInfo]) -> set[str]:
        """The model that a kept evaluation judged."""
        if not any(info.key == f"{prefix}/record.json" for info in objects):
            return set()
        record = EvaluationRecord.from_json(self.store.get(f"{prefix}/record.json"), where=prefix)
        return {self._key(record.model_uri)}

    # --- shared

    def _key(self, uri: str) -> str:
        """The key of a URI below our store; the URI itself where it lies elsewhere."""
        return uri.removeprefix(f"{self.store.uri}/").rstrip("/")

    def _is_young(self, objects: Iterable[ObjectInfo]) -> bool:
        return any(info.modified > self.oldest for info in objects)

    def _remove(self, prefix: str, objects: list[ObjectInfo], why: str) -> None:
        self.report.removed.append(Garbage(prefix, why, len(objects), sum(info.size_bytes for info in objects)))
        if self.report.dry_run:
            return
        documents = [info.key for info in objects if info.key.endswith(_DOCUMENTS)]
        if documents:
            self.store.delete(*documents)
        if rest := [info.key for info in objects if info.key not in set(documents)]:
            self.store.delete(*rest)


def _datasets(version: ModelVersion) -> list[str]:
    return [version.dataset_uri, *([version.evaluation.dataset_uri] if version.evaluation else [])]


def _folders(store: Store, prefix: str) -> Iterator[tuple[str, list[ObjectInfo]]]:
    """Objects below `prefix` by first folder."""
    depth = prefix.count("/")
    inside = (info for info in store.list(prefix) if info.key.count("/") > depth)
    for folder, objects in groupby(inside, key=lambda info: info.key.split("/")[depth]):
        yield folder, list(objects)
