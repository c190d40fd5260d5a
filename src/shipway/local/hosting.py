"""Starts the process that hosts a run, and says how one ended that wrote no record."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shipway import deaths, modules, private
from shipway.errors import JobFailed
from shipway.local.folder import RunFolder


@dataclass
class HostProcess:
    """A host, and what it says before it has a log of its own."""

    home: Path
    process: subprocess.Popen[bytes]
    words: IO[bytes]  # a file without a name: the run, and with it the log's folder, is not known yet
    oom_kills: int

    def first_words(self) -> list[str]:
        """What it said until it found its log: why it does not import, for example."""
        self.words.seek(0)
        return self.words.read().decode("utf-8", "replace").splitlines()


_waiting: list[HostProcess] = []


def prepare_host(home: Path) -> None:
    """Starts the process that will host the next run, so that it imports kfp while we check the parameters.

    It waits for a run's key, and ends by itself when none comes.
    """
    if _waiting and _waiting[-1].home == home:
        return
    words = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    # A session of its own: Ctrl-C reaches us; we tell the host, which ends its steps in order.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "shipway.local.host", str(home)],
        env=modules.for_child(os.environ),
        stdin=subprocess.PIPE,
        stdout=words,
        stderr=words,
        start_new_session=True,
        umask=private.UMASK,
    )
    _waiting.append(HostProcess(home, process, words, deaths.oom_kills()))


def start_host(folder: RunFolder) -> HostProcess:
    """Hands the run to the host that waits, or to a new one."""
    prepare_host(folder.home)
    host = _waiting.pop()
    assert host.process.stdin is not None
    with suppress(BrokenPipeError):  # it has died already: whoever follows the run says how
        host.process.stdin.write(f"{folder.run}\n".encode())
        host.process.stdin.close()
    return host


def host_is_gone(folder: RunFolder, host: HostProcess | None) -> JobFailed:
    """The error of a run whose host ended without its record: how it ended, its last words, and where they stand."""
    code = host.process.wait() if host is not None else None
    full = deaths.full_disk(folder.path)
    if full or code == deaths.FULL_DISK:
        return JobFailed(f"run {folder.run}: {full or deaths.no_space(folder.path)}")
    first = host.first_words() if host is not None else []
    if first:
        with suppress(OSError), folder.log.open("a", encoding="utf-8") as log:
            log.write("\n".join(first) + "\n")
    ended = f" ({deaths.how(code, host.oom_kills if host else None)})" if code is not None else ""
    said = deaths.last_words(deaths.tail(folder.log))
    words = f"its last words: {said}; all of them are in" if said else "it said nothing; its log is"
    return JobFailed(f"run {folder.run}: its host process ended before the run did{ended}; {words} {folder.log}")
