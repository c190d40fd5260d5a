"""Requests of few instances, answered together with those that arrived meanwhile: docs/decisions/0062."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shipway.recipes.arrays import Columns, part

BATCH = 64  # instances of requests that arrived together

Waiting = tuple[list[Any], "asyncio.Future[Columns]"]
Infer = Callable[[Sequence[Any]], Columns]


class Batches:
    """Nobody waits for company: a batch is whatever one turn of the event loop brought, or one batch let arrive.

    Args:
        infer: Predictions of one batch.
        is_apart: Batches are answered one at a time in a thread of their own. The loop reads what arrives meanwhile,
            so that the next batch is larger; where a model answers in less than a millisecond, that costs more.
    """

    def __init__(self, infer: Infer, is_apart: bool) -> None:
        self._infer = infer
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="batch") if is_apart else None
        self._waiting: list[Waiting] = []
        self._is_called = False  # a turn will come, or a batch is under way

    async def answer(self, values: list[Any]) -> Columns:
        """Predictions of one request.

        Raises:
            Exception: whatever its own instances made `infer` raise; those beside it are not to blame.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Columns] = loop.create_future()
        self._waiting.append((values, future))
        if not self._is_called:
            self._is_called = True
            loop.call_soon(self._turn)
        return await future

    def _turn(self) -> None:
        if self._thread is None:
            self._is_called = False
            while batch := self._next():
                _give(batch, self._answers(batch))
            return
        batch = self._next()
        self._is_called = bool(batch)
        if batch:
            loop = asyncio.get_running_loop()
            answered = loop.run_in_executor(self._thread, self._answers, batch)
            answered.add_done_callback(lambda done: self._go_on(batch, done.result()))

    def _go_on(self, batch: list[Waiting], answers: list[Columns | Exception]) -> None:
        _give(batch, answers)
        self._turn()  # with what came meanwhile

    def _next(self) -> list[Waiting]:
        """The first that wait, of at least `BATCH` instances together where there are as many."""
        size = count = 0
        for values, _ in self._waiting:
            if size >= BATCH:
                break
            size, count = size + len(values), count + 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    def _answers(self, batch: list[Waiting]) -> list[Columns | Exception]:
        """One for each request; where the whole batch fails, each is asked alone."""
        try:
            columns = self._infer([value for values, _ in batch for value in values])
        except Exception as error:  # noqa: BLE001 - becomes the request's answer
            return [error] if len(batch) == 1 else [self._alone(each) for each in batch]
        if len(batch) == 1:
            return [columns]
        answers: list[Columns | Exception] = []
        start = 0
        for values, _ in batch:
            answers.append(part(columns, start, start + len(values)))
            start += len(values)
        return answers

    def _alone(self, request: Waiting) -> Columns | Exception:
        values, future = request
        if future.done():  # it was given up meanwhile
            return TimeoutError()
        try:
            return self._infer(values)
        except Exception as error:  # noqa: BLE001 - becomes this request's answer
            return error


def _give(batch: list[Waiting], answers: list[Columns | Exception]) -> None:
    for (_, future), answer in zip(batch, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
