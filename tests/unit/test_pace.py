"""How long the rest of some work takes, as it is estimated."""

from __future__ import annotations

import pytest

from shipway.pace import Pace, words


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def _run(pace: Pace, clock: Clock, *steps: tuple[float, float]) -> None:
    """(seconds, how much is done after them)."""
    for seconds, done in steps:
        clock.now += seconds
        pace.add(done)


def test_nothing_is_said_before_three_intervals_were_measured(clock: Clock) -> None:
    pace = Pace(clock)
    _run(pace, clock, (0, 0), (2, 10), (2, 20))
    assert pace.left_s(20, 100) is None
    _run(pace, clock, (2, 30))
    assert pace.left_s(30, 100) == pytest.approx(14)


def test_a_first_interval_with_tracing_does_not_spoil_the_estimate(clock: Clock) -> None:
    pace = Pace(clock)
    _run(pace, clock, (0, 0), (30, 10), *[(1, done) for done in range(20, 110, 10)])
    left = pace.left_s(100, 200)
    assert left == pytest.approx(10, rel=0.1)


def test_pauses_that_return_count(clock: Clock) -> None:
    pace, done = Pace(clock), 0
    pace.add(done)
    for number in range(20):
        done += 10
        _run(pace, clock, (6 if number % 5 == 4 else 1, done))  # an evaluation behind each fifth interval
    assert pace.left_s(done, done + 100) == pytest.approx(20, rel=0.25)  # ten intervals, two evaluations


def test_work_that_an_earlier_attempt_did_takes_no_time(clock: Clock) -> None:
    pace = Pace(clock)
    _run(pace, clock, (0, 500), (1, 510), (1, 520), (1, 530))
    assert pace.left_s(530, 600) == pytest.approx(7)


def test_going_back_to_a_checkpoint_starts_the_estimate_anew(clock: Clock) -> None:
    pace = Pace(clock)
    _run(pace, clock, (0, 0), (1, 10), (1, 20), (1, 30), (60, 10))
    assert pace.left_s(10, 100) is None
    _run(pace, clock, (1, 20), (1, 30), (1, 40))
    assert pace.left_s(40, 100) == pytest.approx(6)


def test_the_newest_rate_counts(clock: Clock) -> None:
    pace = Pace(clock)
    _run(pace, clock, (0, 0), *[(1, done) for done in range(1, 61)], *[(2, done) for done in range(61, 121)])
    assert pace.left_s(120, 130) == pytest.approx(20, rel=0.05)


def test_words_say_what_is_known() -> None:
    assert words(88, 209, "steps", 12, "735 examples/s") == "42 %, 12 s left, 88 of 209 steps, 735 examples/s"
    assert words(88, 209, "steps") == "42 %, 88 of 209 steps"
    assert words(88, None, "steps") == "88 steps"
    assert words(2.5, 8, "trials") == "31 %, 2 of 8 trials"
