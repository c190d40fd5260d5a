"""YAML as people write it."""

from __future__ import annotations

import pytest

from shipway.yaml_text import load_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 1e5),
        ("-2.5e+3", -2500.0),
        ("3e2", 300.0),
        ("'1e-3'", "1e-3"),
        ("1e", "1e"),
        ("v1e3", "v1e3"),
    ],
)
def test_a_number_with_an_exponent_is_one_with_or_without_a_point(text: str, value: object) -> None:
    assert load_yaml(f"rate: {text}", "x.yaml") == {"rate": value}
    assert type(load_yaml(text, "x.yaml")) is type(value)
