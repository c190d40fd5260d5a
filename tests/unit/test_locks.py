"""Locks on files go with whoever holds them, and processes with whoever started them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from shipway import locks

HOLDER = (
    "import sys; from pathlib import Path; from shipway import locks; "
    "lock = locks.alone(Path({!r})); lock.__enter__(); print('held', flush=True); sys.stdin.read()"
)
CHILD = "print(os.getpid(), flush=True); signal.pause()"
STARTER = (
    "import os, signal, subprocess, sys; from shipway import parents; "
    "subprocess.Popen([sys.executable, '-c', 'import os, signal; {0}'], preexec_fn={1}); signal.pause()"
)


def started(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def test_a_lock_goes_however_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    assert not locks.is_held(path)
    holder = started(HOLDER.format(str(path)))
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert locks.is_held(path)
    with path.open() as file:
        assert not locks.try_lock(file.fileno())
        holder.kill()
        holder.wait()
        assert not locks.is_held(path)
        assert locks.try_lock(file.fileno())
    holder.communicate()


def test_a_shared_lock_is_nobodys_alone_and_the_lock_of_a_folder_leaves_no_file(tmp_path: Path) -> None:
    first, second = (locks.take(tmp_path / "lock", shared=True) for _ in range(2))
    assert not locks.is_held(tmp_path / "lock")
    with (tmp_path / "lock").open() as file:
        assert not locks.try_lock(file.fileno())
    os.close(first)
    os.close(second)
    (tmp_path / "folder").mkdir()
    with locks.alone_in(tmp_path / "folder"):
        waits = threading.Thread(target=lambda: os.close(locks.take(tmp_path / "folder", flags=os.O_RDONLY)))
        waits.start()
        assert waits.is_alive()
    waits.join(timeout=30)
    assert not waits.is_alive()
    assert not list((tmp_path / "folder").iterdir())


@pytest.mark.parametrize(
    ("child", "prepare"),
    [
        (CHILD, "parents.dies_with(os.getpid())"),
        ("import sys; from shipway import parents; parents.when_gone(lambda: os._exit(1)); " + CHILD, "None"),
    ],
    ids=["kernel", "watch"],
)
def test_a_process_ends_with_the_one_that_started_it(child: str, prepare: str) -> None:
    starter = started(STARTER.format(child, prepare))
    assert starter.stdout is not None
    descriptor = os.pidfd_open(int(starter.stdout.readline()))
    try:
        starter.kill()
        starter.wait()
        assert select.select([descriptor], [], [], 60)[0], "it lives on"
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        os.close(descriptor)
    starter.communicate()
