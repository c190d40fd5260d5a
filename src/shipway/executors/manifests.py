"""A manifest from a file, and its way through the executor in force: what `shipway job run` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from shipway.errors import InvalidSpec, NotFound
from shipway.executors.base import DELETED, Executor, Handle, Manifest, OnEvent, Outcome
from shipway.executors.outcomes import mistake_of
from shipway.yaml_text import load_all_yaml


def read_manifest(path: str | Path) -> Manifest:
    """The custom resource in a YAML or JSON file.

    Raises:
        NotFound: no such file.
        InvalidSpec: the file cannot be read, is not YAML, or holds anything but one object with apiVersion, kind,
            metadata.name and spec; says where.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise NotFound("no such file", field=f"manifest {path}", allowed="a YAML file with one manifest") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InvalidSpec(reason, field=f"manifest {path}", allowed="a YAML file with one manifest") from error
    documents = [document for document in load_all_yaml(text, f"manifest {path}") if document is not None]
    if len(documents) != 1:
        raise InvalidSpec(
            field=f"manifest {path}", given=len(documents), allowed="one manifest", fix="give each a file of its own"
        )
    manifest = documents[0]
    if not isinstance(manifest, dict):
        raise InvalidSpec(
            field=f"manifest {path}", given=manifest, allowed="a mapping with apiVersion, kind, metadata and spec"
        )
    for field, kind in (("apiVersion", str), ("kind", str), ("metadata", dict), ("spec", dict)):
        if not isinstance(manifest.get(field), kind):
            what = "a string" if kind is str else "a mapping"
            raise InvalidSpec(f"{field}: expected {what}, got {manifest.get(field)!r:.80}", field=f"manifest {path}")
    if not isinstance(manifest["metadata"].get("name"), str):
        raise InvalidSpec(
            f"metadata.name: expected a string, got {manifest['metadata'].get('name')!r:.80}", field=f"manifest {path}"
        )
    return manifest


def run_manifest(path: str | Path, on_event: OnEvent | None = None, *, deadline_s: float | None = None) -> Outcome:
    """Plays the manifest of a file to its end, or follows the job that is already there.

    Raises:
        InvalidSpec: see `read_manifest` and the executor.
    """
    from shipway.executors import current

    executor = current()
    return executor.follow(executor.ensure(read_manifest(path)), on_event=on_event, deadline_s=deadline_s)


def play(
    executor: Executor,
    manifest: Manifest,
    *,
    backoff_limit: int = 0,
    on_event: OnEvent | None = None,
    deadline_s: float | None = None,
    on_start: Callable[[Handle], None] = lambda handle: None,
) -> tuple[Handle, Outcome]:
    """Ensures and follows, attempt after attempt, until one succeeds or `backoff_limit` failed ones were followed by
    another; a platform's own retries are not to be counted on.

    Args:
        deadline_s: Holds for each attempt.
        on_start: Told of each attempt before it is followed, so that it can be cancelled.
    """
    handle = executor.ensure(manifest, backoff_limit=backoff_limit)
    while True:
        on_start(handle)
        outcome = executor.follow(handle, on_event=on_event, deadline_s=deadline_s)
        is_deleted = outcome.first_failure is not None and outcome.first_failure.reason == DELETED
        # What a person deleted is not theirs to find again, and what they have to mend does not mend itself.
        if outcome.state != "Failed" or is_deleted or mistake_of(outcome):
            return handle, outcome
        following = executor.ensure(manifest, backoff_limit=backoff_limit)
        if following.name == handle.name:  # the attempts are used up
            return handle, outcome
        handle = following
