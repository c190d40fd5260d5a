"""Many transfers at once, results in order."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def gather(work: Callable[[T], Awaitable[R]], items: Sequence[T], at_once: int) -> list[R]:
    """Results of a coroutine function; the first error ends the rest.

    In a thread of its own: a notebook's event loop is running already, and the caller's thread stays free for signals.
    """
    if not items:
        return []
    results: dict[int, R] = {}
    todo = iter(enumerate(items))

    async def worker() -> None:
        for number, item in todo:
            results[number] = await work(item)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            tasks.extend(group.create_task(worker()) for _ in range(min(at_once, len(items))))

    tasks: list[asyncio.Task[None]] = []
    loop = asyncio.new_event_loop()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(_run, loop, main)
        try:
            done.result()
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group.exceptions[0].__cause__
        except BaseException:  # a signal in the caller's thread
            loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
            raise
    return [results[number] for number in range(len(items))]


def spread(work: Callable[[T], R], items: Sequence[T], at_once: int) -> list[R]:
    """Results of a function, by threads that each take the next item; the first error ends the rest.

    A future for each item would cost as much as a small request.
    """
    results: dict[int, R] = {}
    todo = iter(enumerate(items))
    given_up = Event()

    def worker() -> None:
        for number, item in todo:
            if given_up.is_set():
                return
            results[number] = work(item)

    with ThreadPoolExecutor(max(min(at_once, len(items)), 1)) as pool:
        try:
            done, _ = wait([pool.submit(worker) for _ in range(min(at_once, len(items)))], return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        except BaseException:  # a signal in the caller's thread, too
            given_up.set()
            raise
    return [results[number] for number in range(len(items))]


def _run(loop: asyncio.AbstractEventLoop, main: Callable[[], Awaitable[None]]) -> None:
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(main())  # type: ignore[arg-type]
