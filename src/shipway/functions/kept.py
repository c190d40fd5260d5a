"""The folder of a training function, kept in object storage: a killed training finds what it had left there.

folder.json            relative path -> sha256 and size; written last, so that it always names a whole folder
folder/<sha256>        a file's content
tensorboard/...        logs, as they grow
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from pathlib import Path
from typing import Any

from shipway.errors import CorruptArtifact, NotFound, RetryableError, ShipwayError
from shipway.functions.meeting import Meeting
from shipway.storage import open_folder

LIST = "folder.json"
LOGS = "logs"
LOOK_S = 1.0
Seen = dict[str, tuple[int, int]]  # relative path -> size and time of the last change


class KeptFolder:
    """Keeps a folder for one writer, the chief; every worker may restore it.

    Args:
        folder: On this machine.
        uri: `jobs/<job>` in the store.
    """

    def __init__(self, folder: Path, uri: str) -> None:
        self.folder = folder
        self.store = open_folder(uri)
        self._kept: dict[str, dict[str, Any]] = {}
        self._begun_with: set[str] = set()
        self._kept_as: Seen = {}
        self._logged: Seen = {}
        self._seen: Seen | None = None
        self._meeting: Meeting | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def restore(self, rank: int = 0, workers: int = 1) -> int:
        """Brings back what was kept, the same to each of several workers; how many files.

        Raises:
            CorruptArtifact: the list in the store is none, or a file is not what it says.
            RetryableError: the other workers never came, or began anew.
        """
        listed = self._listed() if rank == 0 else {}
        if workers > 1:
            self._meeting = Meeting(self.store, rank, workers)
            listed = self._meeting.agree(listed)
        try:
            files = [(f"folder/{each['sha256']}", self._path(name), each["sha256"]) for name, each in listed.items()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptArtifact(f"{self.store.uri}/{LIST}: {error}; train with fresh=True") from error
        for _, path, _ in files:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.store.download_many(files)
        except NotFound as error:
            raise RetryableError(f"what the chief began with is gone: it has begun anew ({error})") from error
        self._kept, self._kept_as = listed, self._look()
        self._begun_with = {each["sha256"] for each in listed.values()}
        return len(files)

    def _listed(self) -> Any:
        try:
            return json.loads(self.store.get(LIST))
        except NotFound:
            return {}
        except ValueError as error:
            raise CorruptArtifact(f"{self.store.uri}/{LIST}: {error}; train with fresh=True") from error

    def start(self) -> None:
        """Begins to watch the folder."""
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the watch, and keeps what there is."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self.keep()
        self._upload_logs()
        listed = {each["sha256"] for each in self._kept.values()}
        stored = [info.key for info in self.store.list("folder/")]
        if gone := [key for key in stored if key.removeprefix("folder/") not in listed]:
            self.store.delete(*gone)

    def end(self) -> None:
        """Waits for the chief, which calls it last: behind it the training is done.

        Raises:
            RetryableError: the chief has begun anew, and this worker must too.
        """
        if self._meeting is not None:
            self._meeting.end()

    def keep(self, seen: Seen | None = None) -> None:
        """Puts the folder as it is now into the store; files that did not change are not sent again."""
        with self._lock:
            seen = self._look() if seen is None else seen
            if seen == self._kept_as:
                return
            listed: dict[str, dict[str, Any]] = {}
            sent: list[tuple[Path, str]] = []
            stored = {each["sha256"] for each in self._kept.values()}
            for name, (size, _) in seen.items():
                path = self.folder / name
                same = name in self._kept and seen[name] == self._kept_as.get(name)
                digest = self._kept[name]["sha256"] if same else _hash(path)
                listed[name] = {"sha256": digest, "size_bytes": size}
                if digest not in stored:
                    stored.add(digest)
                    sent.append((path, f"folder/{digest}"))
            self.store.upload_many(sent)
            self.store.put(LIST, json.dumps(listed, sort_keys=True).encode())
            gone = {each["sha256"] for each in self._kept.values()} - {each["sha256"] for each in listed.values()}
            gone -= self._begun_with  # another worker may still be fetching those
            self._kept, self._kept_as = listed, seen
            if gone:
                self.store.delete(*(f"folder/{digest}" for digest in sorted(gone)))

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_S):
            try:
                seen = self._look()
                if seen == self._seen and seen != self._kept_as:  # quiet: no file is half-written
                    self.keep(seen)
                self._seen = seen
                self._upload_logs()
            except (ShipwayError, OSError) as error:  # the next look, or the end, tries again
                print(f"shipway: folder not kept: {error}", file=sys.stderr, flush=True)

    def _look(self) -> Seen:
        return {name: state for name, state in self._files(self.folder).items() if name.split("/")[0] != LOGS}

    def _upload_logs(self) -> None:
        for name, state in self._files(self.folder / LOGS).items():
            if self._logged.get(name) != state:
                self.store.put(f"tensorboard/{name}", (self.folder / LOGS / name).read_bytes())
                self._logged[name] = state

    @staticmethod
    def _files(top: Path) -> Seen:
        states: Seen = {}
        for path in sorted(top.rglob("*")) if top.is_dir() else []:
            try:
                if path.is_file() and not path.is_symlink():
                    about = path.stat()
                    states[path.relative_to(top).as_posix()] = (about.st_size, about.st_mtime_ns)
            except FileNotFoundError:  # a temporary file that is gone again
                continue
        return states

    def _path(self, name: str) -> Path:
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(f"{name!r} leaves the folder")
        return path


def _hash(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
