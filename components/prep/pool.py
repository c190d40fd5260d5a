"""Processes that share the work of prep: plain subprocesses, fed over pipes.

Not `multiprocessing`: its spawned children import the caller's main module again (a user's script without a guard
would run twice, a KFP step would import all of kfp), forking after Polars has started its threads may hang, and its
idle workers outlive a parent that is killed. A worker here ends when its pipe closes.
"""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Queue
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from shipway import modules, parents
from shipway.errors import ShipwayError

R = TypeVar("R")


class Pool:
    """Runs `function(*arguments, owner=...)` over many arguments.

    Args:
        workers: Processes; 1 runs everything in this one.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for process in self._processes:
            if kind is not None:
                process.kill()
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
        self._processes.clear()

    def run(self, function: Callable[..., R], tasks: Iterable[tuple[Any, ...]]) -> Iterator[R]:
        """Results as they come, in no order; the first error of a task ends the rest.

        Args:
            function: Importable by name; gets `owner=`, the name of the process it runs in.
            tasks: Positional arguments, taken one ahead of the workers.
        """
        if self.workers <= 1:
            for arguments in tasks:
                yield function(*arguments, owner="p0")
            return
        while len(self._processes) < self.workers:
            self._processes.append(_start(f"p{len(self._processes)}"))
        yield from _Dispatch(self._processes, function).results(tasks)


def in_order(results: Iterable[tuple[int, R]], numbers: Iterable[int]) -> Iterator[R]:
    """Numbered results as `Pool.run` gives them, by number: what is made of them does not depend on who was faster."""
    early: dict[int, R] = {}
    found = iter(results)
    for number in numbers:
        while number not in early:
            early.update([next(found)])
        yield early.pop(number)


class _Dispatch:
    """One thread per process hands it a task and waits for its answer."""

    def __init__(self, processes: list[subprocess.Popen[bytes]], function: Callable[..., Any]) -> None:
        self.processes = processes
        self.function = function
        self.todo: Queue[tuple[Any, ...] | None] = Queue(maxsize=len(processes))
        self.done: Queue[tuple[bool, Any]] = Queue()

    def results(self, tasks: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        threads = [threading.Thread(target=self._serve, args=(p,), daemon=True) for p in self.processes]
        for thread in threads:
            thread.start()
        sent = received = 0
        try:
            for arguments in tasks:
                self.todo.put(arguments)
                sent += 1
                while not self.done.empty():
                    yield self._take()
                    received += 1
            while received < sent:
                yield self._take()
                received += 1
        finally:
            for _ in threads:
                self.todo.put(None)
        for thread in threads:
            thread.join()

    def _take(self) -> Any:
        ok, value = self.done.get()
        if not ok:
            raise value
        return value

    def _serve(self, process: subprocess.Popen[bytes]) -> None:
        while (arguments := self.todo.get()) is not None:
            try:
                assert process.stdin is not None
                assert process.stdout is not None
                _send(process.stdin, (self.function, arguments))
                self.done.put(_receive(process.stdout))
            except (OSError, EOFError):
                code = process.wait()
                reason = "killed, perhaps for its memory" if code == -9 else f"exit code {code}"
                self.done.put((False, ShipwayError(f"prep: a worker process ended ({reason}); see its lines above")))


def _start(owner: str) -> subprocess.Popen[bytes]:
    environment = modules.for_helper({**os.environ, "POLARS_MAX_THREADS": "1"})
    code = f"from shipway.components.prep.pool import work; work({owner!r})"
    return subprocess.Popen(
        [sys.executable, "-P", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


def _send(pipe: IO[bytes], value: object) -> None:
    data = pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)
    pipe.write(struct.pack("<Q", len(data)))
    pipe.write(data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    head = pipe.read(8)
    if len(head) < 8:
        raise EOFError
    return pickle.loads(pipe.read(struct.unpack("<Q", head)[0]))


def work(owner: str) -> None:
    """Answers tasks until the pipe closes, or whoever fed it is gone."""
    parents.when_gone(lambda: os._exit(1))  # a task may run for minutes: it must not outlive the step that asked
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    while True:
        try:
            function, arguments = _receive(sys.stdin.buffer)
        except EOFError:
            return
        try:
            answer = (True, function(*arguments, owner=owner))
        except Exception as error:  # noqa: BLE001 - it is raised again in the parent
            answer = (False, _portable(error))
        _send(answers, answer)


def _portable(error: Exception) -> Exception:
    """The error itself if it survives the pipe; a defect keeps its traceback as text."""
    if isinstance(error, ShipwayError):
        return type(error)(str(error))
    import traceback

    return RuntimeError("".join(traceback.format_exception(error)))
