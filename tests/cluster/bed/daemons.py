"""The bed's processes: started detached, recorded, found again by a mark in their environment, ended."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from shipway.storage import processes
from tests.cluster.bed import settings
from tests.cluster.bed.errors import BedError

STOP_S = 2.0


def start(name: str, command: Sequence[str | Path], **variables: str) -> None:
    """Starts a process that outlives its starter; its log is `logs/<name>.log`."""
    logs, records = settings.state() / "logs", settings.state() / "processes"
    logs.mkdir(parents=True, exist_ok=True)
    records.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, settings.MARK: str(settings.state()), **variables}
    for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NOTIFY_SOCKET"):
        environment.pop(proxy, None)
    with open(logs / f"{name}.log", "ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            cwd=settings.state(), env=environment, start_new_session=True,
        )  # fmt: skip
    record = {"pid": process.pid, "ticks": processes.start_ticks(process.pid) or 0}
    (records / f"{name}.json").write_text(json.dumps(record))


def is_running(name: str) -> bool:
    """Whether the process that was recorded under this name runs."""
    try:
        record = json.loads((settings.state() / "processes" / f"{name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return False
    return processes.is_same(record["pid"], record["ticks"])


def recorded() -> list[str]:
    """Names of all processes that were started."""
    return sorted(path.stem for path in (settings.state() / "processes").glob("*.json"))


def stop(name: str) -> None:
    """Ends a process and forgets it; does nothing when there is none."""
    path = settings.state() / "processes" / f"{name}.json"
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return
    processes.end(record["pid"], record["ticks"], STOP_S)
    path.unlink(missing_ok=True)


def marked() -> Iterator[tuple[int, int, str]]:
    """(pid, start ticks, command line) of every process that a bed started, recorded or not."""
    mark = f"{settings.MARK}={settings.state()}".encode()
    store = f"-dir={settings.state()}/".encode()  # the object store has its environment from who started it
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            environment = (folder / "environ").read_bytes().split(b"\0")
            command = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:  # gone meanwhile
            continue
        ticks = processes.start_ticks(int(folder.name))
        ours = mark in environment or any(argument.startswith(store) for argument in command)
        if ours and ticks is not None:
            yield int(folder.name), ticks, b" ".join(command).decode(errors="replace").strip()


def memory_mib() -> dict[str, int]:
    """Resident memory of each recorded process."""
    found = {}
    for name in recorded():
        record = json.loads((settings.state() / "processes" / f"{name}.json").read_text())
        try:
            lines = Path(f"/proc/{record['pid']}/status").read_text().splitlines()
        except OSError:
            continue
        found[name] = sum(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmRSS:"))
    return found


def wait(what: str, condition: Callable[[], bool], seconds: float, *daemons: str) -> None:
    """Waits until the condition holds.

    Args:
        what: Names the condition in the error.
        condition: Asked five times a second.
        seconds: The deadline.
        daemons: Processes without which it never will hold.

    Raises:
        BedError: one of the daemons ended, or the time is over; with the last lines of their logs.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        dead = [name for name in daemons if not is_running(name)]
        if dead or time.monotonic() > deadline:
            reason = f"{', '.join(dead)} ended" if dead else f"not within {seconds:.0f} s"
            logs = "".join(f"\n--- {tail(name)}" for name in dead or daemons)
            raise BedError(f"{what}: {reason}; logs in {settings.state() / 'logs'}{logs}")
        time.sleep(0.2)


def tail(name: str, lines: int = 8) -> str:
    """The name of a process's log and its last lines."""
    path = settings.state() / "logs" / f"{name}.log"
    text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else ["no log"]
    return "\n".join([path.name, *(line[:300] for line in text)])
