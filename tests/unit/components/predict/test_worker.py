from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shipway.components.predict.batches import BATCH
from shipway.components.predict.core import Query
from shipway.components.predict.worker import Predictor, _section
from shipway.errors import InvalidSpec, ShipwayError
from shipway.recipes import Columns
from shipway.scoring import ModelSession
from shipway.tasks import load_task
from tests.fixtures import toy

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> ModelSession:
    root = tmp_path_factory.mktemp("toy")
    train = toy.rows(200)
    dataset = toy.write_dataset(root / "dataset", {"train": train, "eval": toy.rows(20, 1)})
    return ModelSession.open(toy.write_model(root / "model", dataset, train), root / "model", threads=1)


class Counted(ModelSession):
    """Counts its batches, and refuses one that holds `poison`."""

    def __init__(self, inner: ModelSession, poison: int | None = None) -> None:
        def run(inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            self.sizes.append(len(inputs["tokens"]))
            if poison is not None and (inputs["tokens"] == poison).any():
                raise ShipwayError("poisoned")
            return inner._run(inputs)

        super().__init__(inner.manifest, toy.recipe, inner.encoder, run)
        self.sizes: list[int] = []


def assert_same(given: Columns, expected: Columns) -> None:
    assert list(given) == list(expected) == ["probabilities"]
    np.testing.assert_allclose(given["probabilities"], expected["probabilities"], atol=1e-6)  # type: ignore[arg-type]


def predictor_of(session: ModelSession) -> Predictor:
    return Predictor("toy", session, session.task.answers.Settings(), "1")


def query(values: list[str]) -> Query:
    return Query(values, load_task("classification").answers.Params())


def ask(predictor: Predictor, *queries: list[str]) -> list[Any]:
    """All queries in the same turn of a loop."""

    async def together() -> list[Any]:
        asked = (predictor.predict(query(texts)) for texts in queries)
        return await asyncio.gather(*asked, return_exceptions=True)

    return asyncio.run(together())


def test_requests_that_arrive_together_are_one_batch_and_each_gets_its_own_answer(session: ModelSession) -> None:
    queries = [[f"w{i % 4}_{i % 6} shared{i % 8}"] * (1 + i % 3) for i in range(60)]
    counted = Counted(session)
    answers = ask(predictor_of(counted), *queries)
    assert len(counted.sizes) == 2
    assert max(counted.sizes) <= BATCH + 2
    for texts, (asked, columns) in zip(queries, answers, strict=True):
        assert asked.values == texts
        assert_same(columns, session.predict(texts))


def test_one_instance_that_fails_does_not_fail_the_requests_beside_it(session: ModelSession) -> None:
    poison = session.encode(["w1_1"])["tokens"].item()
    predictor = predictor_of(Counted(session, poison))
    good, bad, also_good = ask(predictor, ["w0_1"], ["w1_1"], ["w2_1"])
    assert isinstance(bad, ShipwayError)
    assert_same(good[1], session.predict(["w0_1"]))
    assert_same(also_good[1], session.predict(["w2_1"]))


def test_a_request_that_was_given_up_does_not_disturb_its_batch(session: ModelSession) -> None:
    predictor = predictor_of(Counted(session))

    async def together() -> Any:
        given_up = asyncio.ensure_future(predictor.predict(query(["w0_1"])))
        waits = asyncio.ensure_future(predictor.predict(query(["w2_1"])))
        await asyncio.sleep(0)
        given_up.cancel()
        return await waits

    assert_same(asyncio.run(together())[1], session.predict(["w2_1"]))


def test_it_is_ready_only_after_it_was_warmed_up(session: ModelSession, tmp_path: Path) -> None:
    counted = Counted(session)
    predictor = predictor_of(counted)
    assert not predictor.ready
    assert predictor.load()
    assert {1, 2, 16} <= set(counted.sizes)


def test_sections_of_the_endpoint_are_read_as_json() -> None:
    settings = load_task("classification").answers.Settings
    assert _section(settings, '{"threshold":1e-05}', "--answers").model_dump() == {"threshold": 1e-05}
    for given, reason in (
        ("{", "not JSON"),
        ("[]", "expected a mapping"),
        ('{"threshold": "a"}', r"threshold.*got 'a'"),
    ):
        with pytest.raises(InvalidSpec, match=f"^--answers.*{reason}"):
            _section(settings, given, "--answers")
