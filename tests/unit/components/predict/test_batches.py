"""Requests that arrive together or meanwhile are one batch, in the loop or beside it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from shipway.components.predict.batches import BATCH, Batches
from shipway.recipes.arrays import Columns

POISON = -1


class Model:
    """Doubles numbers, remembers the sizes of its batches and refuses one that holds `POISON`."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, values: Sequence[Any]) -> Columns:
        self.sizes.append(len(values))
        self.threads.add(threading.get_ident())
        assert self.may_go_on.wait(60)
        if POISON in values:
            raise ValueError("poisoned")
        return {"doubled": np.array(values) * 2}


def ask(batches: Batches, *requests: list[int]) -> list[Any]:
    async def together() -> list[Any]:
        return await asyncio.gather(*map(batches.answer, requests), return_exceptions=True)

    return asyncio.run(together())


@pytest.fixture(params=[False, True], ids=["in the loop", "apart"])
def is_apart(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_each_request_gets_its_own_answer_out_of_one_batch(is_apart: bool) -> None:
    model = Model()
    requests = [[place] * (1 + place % 3) for place in range(60)]
    answers = ask(Batches(model, is_apart), *requests)
    assert [answer["doubled"].tolist() for answer in answers] == [[2 * value for value in each] for each in requests]
    assert len(model.sizes) == 2
    assert max(model.sizes) <= BATCH + 2
    assert (threading.get_ident() in model.threads) != is_apart


def test_one_instance_that_fails_does_not_fail_the_requests_beside_it(is_apart: bool) -> None:
    good, bad, also_good = ask(Batches(Model(), is_apart), [1], [POISON], [3])
    assert isinstance(bad, ValueError)
    assert (good["doubled"].tolist(), also_good["doubled"].tolist()) == ([2], [6])


def test_it_goes_on_after_a_batch_that_failed(is_apart: bool) -> None:
    batches = Batches(Model(), is_apart)
    assert isinstance(ask(batches, [POISON])[0], ValueError)
    assert ask(batches, [1])[0]["doubled"].tolist() == [2]


def test_a_request_that_was_given_up_does_not_disturb_its_batch(is_apart: bool) -> None:
    async def together() -> Any:
        batches = Batches(Model(), is_apart)
        given_up, waits = (asyncio.ensure_future(batches.answer([value])) for value in (POISON, 2))
        await asyncio.sleep(0)
        given_up.cancel()
        return await waits

    assert asyncio.run(together())["doubled"].tolist() == [4]


def test_who_arrives_while_a_batch_is_under_way_is_the_next_one() -> None:
    model = Model()
    model.may_go_on.clear()

    async def meanwhile() -> list[Any]:
        batches = Batches(model, is_apart=True)
        first = asyncio.ensure_future(batches.answer([1]))
        while not model.sizes:
            await asyncio.sleep(0.001)
        others = [asyncio.ensure_future(batches.answer([value])) for value in (2, 3, 4)]
        await asyncio.sleep(0)
        model.may_go_on.set()
        return await asyncio.gather(first, *others)

    assert [answer["doubled"].tolist() for answer in asyncio.run(meanwhile())] == [[2], [4], [6], [8]]
    assert model.sizes == [1, 3]
