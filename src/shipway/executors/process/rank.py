"""Stands between `mpirun` and one rank: `python -I -S rank.py COMMAND...`, as Open MPI's fork agent.

Gives the rank what a worker pod would: a private folder, its own log, its own name and the worker container's
environment; and writes down when and how it ended, since `mpirun` itself only tells that something did. Standard
library alone, and nothing of Shipway: it starts as often as there are ranks.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1


def main(command: list[str]) -> int:
    """Runs one rank to its end, and ends as it did."""
    rank = os.environ["OMPI_COMM_WORLD_RANK"]
    start = os.environ.get("SHIPWAY_RESTART", "0")
    private = Path(os.environ["SHIPWAY_JOB_FOLDER"]) / "replicas" / f"worker-{rank}"
    work = private / "work"
    private.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    (work / "tmp").mkdir(parents=True)
    env = _environment(private, work, start, rank)
    me = os.getpid()
    _die_with_parent()  # mpirun killed outright leaves its ranks alone in the world

    def prepare() -> None:
        _die_with_parent()
        if os.getppid() != me:
            os._exit(137)

    with open(private / f"{start}.log", "ab") as log:
        try:
            child = subprocess.Popen(
                command, env=env, cwd=work, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=prepare
            )
        except OSError as error:
            log.write(f"cannot start {command[0]}: {error.strerror}\n".encode())
            _write_end(private, start, 127)
            return 127

    def hand_on(number: int, _frame: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT):
        signal.signal(number, hand_on)
    code = child.wait()
    _write_end(private, start, code)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL) if -code not in (signal.SIGKILL, signal.SIGSTOP) else None
        os.kill(me, -code)  # so that mpirun sees the same end
    return code


def _environment(private: Path, work: Path, start: str, rank: str) -> dict[str, str]:
    """The launcher's variables that reached us, over the worker container's own."""
    env = {**json.loads(os.environ.pop("SHIPWAY_RANK_ENV", "{}")), **os.environ}
    return env | {
        "HOME": str(work),
        "PWD": str(work),
        "TMPDIR": str(work / "tmp"),
        "SHIPWAY_REPLICA": f"worker-{rank}",
        "SHIPWAY_PROGRESS": str(private / f"{start}.progress.jsonl"),
    }


def _write_end(private: Path, start: str, returncode: int) -> None:
    temporary = private / f".{start}.end"
    temporary.write_text(json.dumps({"at": time.time(), "returncode": returncode}), encoding="utf-8")
    temporary.rename(private / f"{start}.end.json")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
