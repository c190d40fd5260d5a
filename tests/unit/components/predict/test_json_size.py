from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shipway.components.predict.json_size import MAX_DEPTH, is_within
from tests.unit.components.predict.test_core import JSON


@given(JSON | st.lists(st.text('\\"[]{},a'), max_size=5), st.booleans())
def test_tokens_are_counted_whatever_the_strings_hold(value: Any, is_spread: bool) -> None:
    text = json.dumps(value, indent=3 if is_spread else None)
    tokens = len(re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{},]', text))
    assert is_within(text.encode(), tokens)
    assert tokens == 0 or not is_within(text.encode(), tokens - 1)


def test_a_few_escaped_quotes_count_for_nothing_also_in_the_last_string() -> None:
    assert is_within(json.dumps('"' * 31).encode(), 1)
    assert not is_within(json.dumps('"' * 32).encode(), 1)
    assert is_within(json.dumps('"' * 32).encode(), 2)


def test_depth_is_counted() -> None:
    assert is_within(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, 10_000)
    assert not is_within(b"[" * (MAX_DEPTH + 1), 10_000)
    assert is_within(b"[]" * 1000, 10_000)
    assert is_within(b'"' + b"[" * 10_000 + b'"', 10)


def test_it_stops_early_in_what_never_ends() -> None:
    assert not is_within(b"{}," * 5_000_000, 100)
    assert not is_within(b'"' + b'\\"' * 5_000_000, 100)
    assert is_within(b'"' + b"\\" * 5_000_000, 100)
