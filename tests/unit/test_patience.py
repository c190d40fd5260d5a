"""What fails for a moment is tried again, and no longer than it was said."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.patience import Patience, retry_after

seconds = st.floats(0, 1e4)


@given(st.integers(1, 20), seconds, seconds, st.lists(st.none() | seconds, min_size=20, max_size=20))
def test_pauses_grow_up_to_their_cap_and_end_with_the_attempts(
    attempts: int, first_s: float, cap_s: float, asked: list[float | None]
) -> None:
    patience = Patience(attempts=attempts, first_s=first_s, cap_s=cap_s, asked_s=7.0)
    tries = patience.tries()
    pauses = [tries.pause(asked_s, 0.0) for asked_s in asked]
    made = [pause for pause in pauses if pause is not None]
    assert pauses == [*made, *[None] * (len(pauses) - len(made))]
    assert len(made) == min(attempts - 1, len(asked))
    for number, (pause, asked_s) in enumerate(zip(made, asked, strict=False)):
        longest = min(cap_s, first_s * 2**number)
        assert max(longest / 2, min(asked_s or 0.0, 7.0)) <= pause <= max(longest, min(asked_s or 0.0, 7.0))


def test_no_try_begins_after_the_time_is_over_and_a_server_that_asks_for_more_is_asked_once_more_at_its_end() -> None:
    patience = Patience(within_s=10.0, first_s=1.0)
    assert patience.tries().pause(60.0, 7.0) == 3.0
    assert patience.tries().pause(None, 9.9) is None
    assert patience.tries().pause(None, 12.0) is None
    assert Patience(within_s=0.0).tries().pause(1.0, 0.0) is None  # asked once


def test_a_thousandth_failure_still_has_its_pause() -> None:
    tries = Patience(cap_s=2.0).tries()
    assert all(0 < (tries.pause(None, 1e9) or 0) <= 2.0 for _ in range(2000))


def test_it_pauses_by_itself_and_says_when_it_is_over() -> None:
    tries = Patience(attempts=3, first_s=0.001).tries()
    assert [tries.again(), tries.again(), tries.again(), tries.again()] == [True, True, False, False]


@pytest.mark.parametrize("given", ["", "soon", "-1", "1.5", "٣", "Wed, 45 Oct 2015 07:28:00 GMT"])
def test_a_wait_that_cannot_be_read_is_none(given: str) -> None:
    assert retry_after({"Retry-After": given}) is None


def test_a_wait_is_told_in_seconds_or_as_a_moment() -> None:
    assert retry_after({}) is None
    assert retry_after({"Retry-After": " 3 "}) == 3.0
    assert retry_after({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0  # past
    wait_s = retry_after({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)})
    assert wait_s is not None
    assert math.isclose(wait_s, 3600, abs_tol=30)
