"""The registry: everything that is kept about a name's versions, in object storage.

models/<name>/content/<digest>/<variants>/...  the model's files, copied: the training job may be cleaned up
models/<name>/versions/<n>.json                create-only, immutable
models/<name>/cards/<n>.{md,html}              written from the version, can be written again
models/<name>/decisions/<n>.json               the newest decision on a version, which may be judged again
models/<name>/aliases/<alias>.json             pointer, moved by compare-and-swap
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from shipway.artifacts import DatasetManifest, DecisionRecord, EvaluationRecord, ModelManifest
from shipway.errors import Conflict, CorruptArtifact, InvalidSpec, NotFound, Superseded, nearest
from shipway.executors import identity
from shipway.images import VERSION
from shipway.registry.aliases import (
    Standing,
    history,
    move_alias,
    previous_version,
    read_alias,
    readable_alias,
    take_back,
    unset_alias,
)
from shipway.registry.changes import VersionDiff, diff_versions
from shipway.registry.collect import GarbageReport, collect_garbage
from shipway.registry.endpoints import endpoints_of
from shipway.registry.reading import check_pinned, content_key, content_uri, read_version, version_key
from shipway.registry.record import ALIASES, Alias, ModelVersion, Move, Rollback, VersionSummary
from shipway.scoring import verify_files
from shipway.storage import Store, open_folder

Names = list[str]  # `list` is a method of Registry
Numbers = list[int]
Moves = list[Move]
Summaries = list[VersionSummary]
How = Literal["set", "rollback", "deploy"]

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_ATTEMPTS = 20  # lost races before giving up; each lost race is another writer's success


class Registry:
    """Versions and aliases of every model name in one store."""

    def __init__(self, store: Store | None = None) -> None:
        self.store = store or Store.open()

    # --- versions

    def register(
        self,
        model: ModelManifest,
        *,
        evaluation: EvaluationRecord | None = None,
        decision: DecisionRecord | None = None,
        dataset: DatasetManifest | None = None,
        run: str = "",
    ) -> ModelVersion:
        """Makes a trained model a version of its name, and points `candidate` at it.

        The same model, served by the variant of the same name and evaluated on the same rows, is the same version,
        however often a step or a training is run again: what is there is kept, variants and all.

        Args:
            model: As training published it; its files are copied and verified.
            evaluation: How good it is; goes into the version and its card.
            decision: Why it was let through.
            dataset: What it was trained on.
            run: The run that registers it.

        Returns:
            The version; new, or the one that was there.

        Raises:
            CorruptArtifact: a file differs from the manifest, or the evaluation from the one that was decided on.
            InvalidSpec: the records are of another model.
        """
        _check_name(model.name)
        if evaluation is not None and decision is not None and decision.evaluation_seal != evaluation.seal:
            raise CorruptArtifact(
                f"register: the EvaluationRecord ({evaluation.uri}) is not the one that the decision was made on; pass "
                "the one that the gate was given, or run the gate again"
            )
        _check_records(model, evaluation, decision)
        version = self._find(model, evaluation, run)
        if version is None:
            kept = self._copy(model)
            draft = ModelVersion(
                name=model.name,
                version=0,
                digest=model.digest,
                model=kept,
                source_uri=model.uri,
                evaluation=evaluation,
                decision=decision,
                dataset_uri=model.dataset_uri,
                dataset_fingerprint=model.dataset_fingerprint,
                dataset_rows={split: part.rows for split, part in dataset.splits.items()} if dataset else {},
                dataset_source=dataset.source_uri if dataset else "",
                run=run,
                created_at=datetime.now(UTC).isoformat(timespec="seconds"),
                shipway_version=VERSION,
            )
            version = self._publish(draft, evaluation)
        if decision is not None:
            self.decided(version.name, version.version, decision)
        self.write_card(version)
        self.set_alias(version.name, "candidate", version.version, reason="registered", run=run)
        return version

    def names(self) -> Names:
        """Every name that has a version, sorted."""
        keys = (info.key.split("/") for info in self.store.list("models/"))
        return sorted({parts[1] for parts in keys if len(parts) == 4 and parts[2] == "versions"})

    def versions(self, name: str) -> Numbers:
        """A name's version numbers, ascending; empty for an unknown name."""
        matches = (
            re.fullmatch(r"(\d+)\.json", info.key.rsplit("/", 1)[1])
            for info in self.store.list(f"models/{name}/versions/")
        )
        return sorted(int(match.group(1)) for match in matches if match)

    def get(self, name: str, selector: int | str = "latest") -> ModelVersion:
        """One version.

        Args:
            name: The model's name.
            selector: A number (`3`, `"3"`, `"v3"`), an alias, or `latest`.

        Raises:
            NotFound: says what there is.
            CorruptArtifact: its document was edited, or is not the one that the alias was set to.
        """
        number = self.resolve(name, selector)
        if selector in ALIASES:  # read once more: the version and its pin are of one moment, whoever moves the alias
            return self.at(read_alias(self.store, name, str(selector)))
        return read_version(self.store, name, number)

    def at(self, standing: Standing) -> ModelVersion:
        """The version that an alias named when it was read.

        Raises:
            NotFound: it named none.
            CorruptArtifact: its document was edited, or is not the one that the alias was set to.
        """
        if standing.move is None:
            raise NotFound("the alias names no version", field="models")
        version = read_version(self.store, standing.move.name, standing.move.version)
        check_pinned(version, standing.move)
        return version

    def resolve(self, name: str, selector: int | str = "latest") -> int:
        """The number that a selector means."""
        # A name that is none (`../x`) must not become a key.
        numbers = self.versions(name) if _NAME.fullmatch(name) else []
        if not numbers:
            names = self.names()
            known = f"known names: {', '.join(names)}" if names else "no model is registered yet"
            raise NotFound(f"no version of {name!r}; {known}{nearest(name, names)}", field="models", given=name)
        if selector == "latest":
            return numbers[-1]
        if selector in ALIASES:
            number = self.alias(name, str(selector))
            if number is None:
                raise NotFound(f"{name} has no {selector} yet; versions: {_list(numbers)}", field="models")
            return number
        match = re.fullmatch(r"v?(\d{1,18})", str(selector))
        if match is None or int(match.group(1)) not in numbers:
            raise NotFound(
                f"{name} has no version",
                field="models",
                given=selector,
                allowed=f"one of {_list(numbers)}, latest, {', '.join(ALIASES)}",
            )
        return int(match.group(1))

    def list(self, name: str | None = None) -> Summaries:
        """One line by version, the newest first within a name."""
        if name is not None:
            self.resolve(name)
        return [line for each in ([name] if name else self.names()) for line in self._summaries(each)]

    def diff(self, name: str, before: int | str, after: int | str = "latest") -> VersionDiff:
        """What differs between two versions of a name."""
        return diff_versions(self.get(name, before), self.get(name, after))

    # --- aliases

    def alias(self, name: str, alias: str) -> int | None:
        """The version that an alias names; None where it was never set."""
        return read_alias(self.store, name, alias).version

    def aliases(self, name: str) -> dict[str, int]:
        """Alias -> version, of those that are set."""
        numbers = {alias: self.alias(name, alias) for alias in ALIASES}
        return {alias: version for alias, version in numbers.items() if version is not None}

    def history(self, name: str, alias: Alias = "champion") -> Moves:
        """All moves of an alias, the newest first."""
        return [*history(self.store, name, alias)]

    def set_alias(self, name: str, alias: Alias, selector: int | str, *, reason: str = "", run: str = "") -> Move:
        """Points an alias at a version, whoever moved it meanwhile; setting it to where it points already does nothing.

        For the champion `promote` and `move_champion` are meant, which move it only from where it was seen.

        Raises:
            NotFound: no such version.
            Conflict: another writer moves it without end, or the version is being removed.
        """
        if alias not in ALIASES:
            raise InvalidSpec("unknown alias", field="models", given=alias, allowed=ALIASES)
        version = self.resolve(name, selector)
        seal = read_version(self.store, name, version).seal
        for _ in range(_ATTEMPTS):
            standing = readable_alias(self.store, name, alias)
            if standing.move is not None and _names(standing, version, seal):
                return standing.move
            move = Move(name=name, alias=alias, version=version, seal_of_version=seal, run=run, reason=reason)
            try:
                moved = move_alias(self.store, move, expected=standing, version_key=version_key(name, version))
            except Conflict:
                continue
            assert moved.move is not None
            return moved.move
        raise Conflict(f"models: alias {alias} of {name} is moved by others all the time; try again")

    def unset_alias(self, name: str, alias: Alias = "champion") -> bool:
        """Leaves a name without this alias; says whether it was set. No version is removed.

        Raises:
            Conflict: somebody else moves it at this moment.
        """
        self.resolve(name)
        return unset_alias(self.store, name, alias)

    def champion(self, name: str, *, to_move: bool = False) -> Standing:
        """The champion as it is now: what a verdict is about, and what `move_champion` compares with.

        Args:
            name: The model's.
            to_move: An alias that was edited names nothing, so that it can be set anew.

        Raises:
            CorruptArtifact: the alias was edited.
        """
        if not _NAME.fullmatch(name):  # `../x` must not become a key
            return Standing(None, None)
        return (readable_alias if to_move else read_alias)(self.store, name, "champion")

    def move_champion(
        self, name: str, version: int, *, seen: int, how: How = "set", reason: str, run: str = ""
    ) -> Standing:
        """Makes a version the champion, if the champion still is the one that was seen. Already champion: nothing.

        Args:
            name: The model's.
            version: Its version.
            seen: `sequence` of the champion that the decision was about; 0 where there was none yet.
            how: Kept in the history.
            reason: Likewise.
            run: Likewise.

        Raises:
            Superseded: there is another champion by now; nothing was moved.
            NotFound: the version is being removed.
        """
        seal = read_version(self.store, name, version).seal
        standing = self.champion(name, to_move=True)
        if not _names(standing, version, seal) and standing.sequence == seen:
            move = Move(
                name=name, alias="champion", version=version, seal_of_version=seal, how=how, run=run, reason=reason
            )
            try:
                return move_alias(self.store, move, expected=standing, version_key=version_key(name, version))
            except Conflict:
                standing = self.champion(name, to_move=True)
        if _names(standing, version, seal):
            return standing
        raise Superseded(
            f"models: the champion of {name} was moved meanwhile: {_told(standing)}; version {version} was not decided "
            f"against that; look again: shipway models list {name}"
        )

    def take_back(self, moved: Standing) -> bool:
        """Undoes a move of the champion; False where somebody else has moved it since."""
        try:
            take_back(self.store, moved)
        except Conflict:
            return False
        return True

    def promote(
        self,
        name: str,
        selector: int | str = "candidate",
        *,
        seen: Standing | None = None,
        reason: str = "",
        run: str = "",
    ) -> Move:
        """Makes a version the champion. The endpoint is not touched: that is `deploy`'s.

        Args:
            name: The model's.
            selector: Number, alias or `latest`.
            seen: The champion that the caller decided about; None: the one there is now.
            reason: Kept in the history.
            run: Likewise.

        Raises:
            NotFound: no such version.
            Superseded: somebody else moved the champion meanwhile.
        """
        seen = seen or self.champion(name, to_move=True)
        moved = self.move_champion(name, self.resolve(name, selector), seen=seen.sequence, reason=reason, run=run)
        assert moved.move is not None
        return moved.move

    def rollback_target(self, name: str) -> int | None:
        """The version that `rollback` would return to; None where there is none."""
        there = set(self.versions(name))
        return previous_version([move for move in self.history(name) if move.version in there])

    def rollback(self, name: str, *, seen: Standing | None = None, reason: str = "", run: str = "") -> Rollback:
        """Makes the previous champion the champion again.

        Args:
            name: The model's.
            seen: The champion that the caller decided about; None: the one there is now.
            reason: Kept in the history.
            run: Likewise.

        Raises:
            NotFound: there is no champion, or none before it.
            Superseded: somebody else moved the champion meanwhile.
        """
        current = self.resolve(name, "champion")
        seen = seen or self.champion(name)
        target = self.rollback_target(name)
        if target is None:
            raise NotFound(
                (f"{name} has no champion before version {current}; versions: {_list(self.versions(name))}"),
                field="models",
            )
        self.move_champion(name, target, seen=seen.sequence, how="rollback", reason=reason or "rollback", run=run)
        redeploy = [point.name for point in endpoints_of(self.store, name) if point.version != target]
        return Rollback(name=name, from_version=seen.version or current, version=target, redeploy=redeploy)

    # --- decisions

    def decided(self, name: str, version: int, decision: DecisionRecord) -> None:
        """Keeps the newest decision on a version; the version's own document has the first."""
        self.store.put(_decision_key(name, version), decision.to_json().encode())

    def decision(self, version: ModelVersion) -> DecisionRecord | None:
        """The newest decision on a version."""
        key = _decision_key(version.name, version.version)
        try:
            newest = DecisionRecord.from_json(self.store.get(key), where=key)
        except NotFound:
            return version.decision
        if newest.challenger_digest != version.digest:
            raise CorruptArtifact(
                f"{key}: it is about model {newest.challenger_digest}, version {version.version} of {version.name} is "
                f"{version.digest}; remove it, and judge the version again"
            )
        return newest

    # --- cards and cleaning

    def card_uri(self, name: str, selector: int | str = "latest", kind: str = "html") -> str:
        """Where a version's model card lies, `md` or `html`."""
        return f"{self.store.uri}/{_card_key(name, self.resolve(name, selector), kind)}"

    def write_card(self, version: ModelVersion) -> None:
        """Writes a version's model card, as Markdown and as HTML."""
        from shipway.registry.card import card_html, card_markdown

        self.store.put(_card_key(version.name, version.version, "md"), card_markdown(version).encode())
        self.store.put(_card_key(version.name, version.version, "html"), card_html(version).encode())

    def gc(
        self, name: str | None = None, *, keep: int = 3, dry_run: bool = True, grace_s: float = 7 * 86400
    ) -> GarbageReport:
        """Removes what nothing uses any more; see `collect.collect_garbage`."""
        return collect_garbage(self, name, keep=keep, dry_run=dry_run, grace_s=grace_s)

    # --- inside

    def _summaries(self, name: str) -> Iterator[VersionSummary]:
        aliases = {alias: readable_alias(self.store, name, alias).version for alias in ALIASES}
        for number in reversed(self.versions(name)):
            names = [str(alias) for alias, target in aliases.items() if target == number]
            try:
                version = self.get(name, number)
            except CorruptArtifact as error:
                yield VersionSummary(
                    name=name, version=number, aliases=names, digest="", created_at="", run="", error=str(error)
                )
                continue
            yield VersionSummary(
                name=name,
                version=number,
                aliases=names,
                digest=version.digest,
                created_at=version.created_at,
                run=version.run,
                metrics=version.evaluation.metrics if version.evaluation else version.model.metrics,
                shown=version.evaluation.shown if version.evaluation else [],
                decision=version.decision.decision if version.decision else "",
                size_bytes=sum(file.size_bytes for file in version.model.files),
            )

    def _find(self, model: ModelManifest, evaluation: EvaluationRecord | None, run: str) -> ModelVersion | None:
        """The version that this registration would repeat: the same model, served by the variant of the same name, and
        the same run or the same test rows."""
        for number in reversed(self.versions(model.name)):
            try:
                version = self.get(model.name, number)
            except CorruptArtifact:
                continue  # of an earlier Shipway, or edited: whatever it is, it is not this model
            if (version.digest, version.model.serving) != (model.digest, model.serving):
                continue
            if (run and version.run == run) or _test_rows(version.evaluation) == _test_rows(evaluation):
                return version
        return None

    def _copy(self, model: ModelManifest) -> ModelManifest:
        """Copies the files below the registry; the version's document names that copy."""
        prefix = content_key(model)
        kept = model.model_copy(update={"uri": content_uri(self.store, model)})
        with tempfile.TemporaryDirectory(prefix="shipway-register-") as folder:
            open_folder(model.uri).download_folder("", model.files, Path(folder))
            verify_files(Path(folder), model.files, where=model.uri)
            self.store.upload_many([(Path(folder) / file.path, f"{prefix}/{file.path}") for file in model.files])
        self.store.put(f"{prefix}/manifest.json", kept.to_json().encode())
        return kept

    def _publish(self, draft: ModelVersion, evaluation: EvaluationRecord | None) -> ModelVersion:
        """Writes the version under the next free number; two writers never share one."""
        for _ in range(_ATTEMPTS):
            number = max(self.versions(draft.name), default=0) + 1
            version = draft.model_copy(update={"version": number})
            try:
                self.store.put(version_key(draft.name, number), version.to_json().encode(), create=True)
                return version
            except Conflict:
                existing = self._find(draft.model, evaluation, draft.run)
                if existing is not None:
                    return existing
        raise Conflict(f"models: {_ATTEMPTS} other versions of {draft.name} were registered meanwhile; try again")


def _check_records(model: ModelManifest, evaluation: EvaluationRecord | None, decision: DecisionRecord | None) -> None:
    """Refuses records of another model, or of another variant than the one that is served.

    Raises:
        InvalidSpec: names the record and what it is of.
    """
    pins = ("model", model.digest), ("variant", model.served.digest)
    for record, digests in (
        (evaluation, evaluation and (evaluation.model_digest, evaluation.variant_digest)),
        (decision, decision and (decision.challenger_digest, decision.challenger_variant)),
    ):
        for (what, pinned), digest in zip(pins, digests or (), strict=False):
            if record is not None and digest != pinned:
                raise InvalidSpec(
                    f"the {record.KIND} is of {what} {digest}, not of {pinned} ({model.uri})",
                    field="register",
                    fix="pass the records of this model's own evaluation",
                )


def _decision_key(name: str, version: int) -> str:
    return f"models/{name}/decisions/{version}.json"


def _names(standing: Standing, version: int, seal: str) -> bool:
    """Whether the alias names this version, with the document that it has now."""
    move = standing.move
    return move is not None and (move.version, move.seal_of_version) == (version, seal)


def _told(standing: Standing) -> str:
    """The champion in words."""
    move = standing.move
    if move is None:
        return "it is none now"
    return f"it is version {move.version} now, since {move.at}" + (f" (run {move.run})" if move.run else "")


def _card_key(name: str, version: int, kind: str) -> str:
    return f"models/{name}/cards/{version}.{kind}"


def _test_rows(evaluation: EvaluationRecord | None) -> tuple[str, str] | None:
    return (evaluation.dataset_fingerprint, evaluation.split) if evaluation else None


def _list(numbers: Numbers) -> str:
    shown = [str(number) for number in numbers[-10:]]
    return ", ".join(["...", *shown] if len(numbers) > 10 else shown)


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise InvalidSpec(
            f"{name!r} cannot name a model",
            field="name",
            given=name,
            allowed=("up to 63 small letters, digits, '-', '_' or '.', beginning and ending with a letter or digit"),
        )
    if reserved := identity.reserved_name(name):
        raise InvalidSpec(
            f"{name!r} {reserved}, which is reserved for what is made beside a model", field="name", given=name
        )
