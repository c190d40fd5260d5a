from __future__ import annotations

import io
from typing import Any

import pytest

from shipway.cli.lines import answer_lines
from shipway.cli.wording import Wording
from shipway.errors import UserError
from tests.fixtures import waiting

TEXT = Wording.of("intents")
ANSWER = {"label": "greet", "out_of_scope": False, "probability": 0.75, "probabilities": {"greet": 0.75, "leave": 0.25}}


@pytest.fixture
def journey(monkeypatch: pytest.MonkeyPatch) -> Wording:
    monkeypatch.setenv("SHIPWAY_RECIPES", waiting.REFERENCE)
    return Wording.of(waiting.REFERENCE)


def shown(wording: Wording, answer: Any, line: str = "") -> list[tuple[str, str]]:
    headings = wording.headings([answer])
    return list(zip(headings, wording.cells(answer, headings, line), strict=True))


def test_a_known_model_is_asked_and_answers_in_its_own_words(journey: Wording) -> None:
    assert TEXT.instance("[1, 2]") == "[1, 2]"
    assert shown(TEXT, ANSWER) == [("label", "greet"), ("probability", "0.750"), ("next", "leave 0.250")]
    assert journey.instance("3 20") == [3.0, 20.0]
    assert shown(journey, {"minutes": 9.5, "raw": 9.5}) == [("minutes", "9.50")]
    with pytest.raises(UserError, match="expected stops and passengers, got 'three'"):
        journey.instance("three")


def test_spans_are_told_in_the_words_of_the_line() -> None:
    spans = [{"start": 3, "end": 8, "type": "room", "score": 0.75}, {"start": 10, "end": 13, "type": "n", "score": 0.5}]
    line = "👍🏽 la\nmp  \u0663\u0664\u0665"
    told = [("spans", "room: la mp, n: \u0663\u0664\u0665"), ("least sure", "0.500")]
    assert shown(Wording.of("entities"), {"spans": spans}, line) == told
    assert shown(Wording.of("entities"), {"spans": []}) == [("spans", "(none)"), ("least sure", "")]


def test_a_recipe_that_nobody_allowed_is_not_imported_and_its_answers_are_shown_as_they_are() -> None:
    for recipe in (waiting.REFERENCE, "", "no.such:recipe"):
        unknown = Wording.of(recipe)
        assert (unknown.kind, unknown.answers) == (None, None)
        assert (f"set SHIPWAY_RECIPES={recipe}" in unknown.unknown) is (recipe != "")
        assert unknown.instance("hello {") == "hello {"
        assert unknown.instance('{"stops": 3}') == {"stops": 3}
        assert shown(unknown, {"minutes": 9.51234567, "late": True}) == [("minutes", "9.512"), ("late", "true")]
        assert shown(unknown, 0.25) == [("answer", "0.25")]
        assert len(shown(unknown, {"p": dict.fromkeys(map(str, range(100)), 0.1)})[0][1]) < 70


def test_a_recipe_that_came_as_code_is_told_with_the_code_that_it_is_in() -> None:
    assert Wording.of("pics:recipe", "s3://a/b.zip#sha256=1").unknown.endswith(
        "set SHIPWAY_RECIPES=pics:recipe, and for its code SHIPWAY_CODE='s3://a/b.zip#sha256=1'"
    )


def test_another_servers_answer_is_shown_although_the_task_cannot_read_it() -> None:
    assert shown(TEXT, {"label": "greet"}) == [("label", '{"label": "greet"}'), ("probability", ""), ("next", "")]
    assert shown(TEXT, "greet")[0] == ("label", "greet")


def test_a_line_that_the_input_cannot_read_is_named_after_the_ones_before_it_were_answered(journey: Wording) -> None:
    asked: list[Any] = []

    def ask(instances: list[Any]) -> list[Any]:
        asked.extend(instances)
        return [{"minutes": sum(each)} for each in instances]

    answers = answer_lines(io.BytesIO(b"3 20\n4 1\nmany\n5 5\n"), ask, 2, journey.instance)
    assert [next(answers), next(answers)] == [("3 20", {"minutes": 23}), ("4 1", {"minutes": 5})]
    with pytest.raises(UserError, match=r"standard input, line 3: expected stops and passengers, got 'many'"):
        next(answers)
    assert asked == [[3, 20], [4, 1]]
