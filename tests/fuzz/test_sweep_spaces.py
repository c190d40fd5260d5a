"""No text, number or nesting makes a search space raise what is not ours."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shipway.components.sweep.space import Space
from shipway.components.sweep.spec import SweepSpec
from shipway.errors import InvalidSpec
from shipway.specs import parse
from tests.fuzz.fuzzing import fuzzed

NUMBERS: Any = st.integers() | st.floats() | st.sampled_from([10**400, -(10**30), 2**63, 5e-324, 1e308])
SCALARS: Any = NUMBERS | st.text(max_size=5) | st.booleans() | st.sampled_from(["9" * 5000, "inf", "\ud800"])
CALLS = st.builds(
    lambda name, arguments, depth, opening: f"{name}({opening * depth}{', '.join(map(ascii, arguments))})",
    st.sampled_from(["uniform", "loguniform", "quniform", "randint", "lograndint", "choice", "f"]),
    st.lists(SCALARS, max_size=4),
    st.sampled_from([0, 0, 0, 1, 200, 100_000]),
    st.sampled_from("([{-~"),
)
KATIB = st.fixed_dictionaries(
    {
        "parameterType": st.sampled_from(["int", "double", "discrete", "categorical"]),
        "feasibleSpace": st.dictionaries(
            st.sampled_from(["min", "max", "step", "list", "distribution"]), SCALARS | st.lists(SCALARS, max_size=4)
        ),
    }
)


@fuzzed
@given(CALLS | KATIB | st.lists(SCALARS, max_size=4) | SCALARS, st.floats(0, 0.999))
def test_a_space_is_one_or_is_refused_in_one_line(space: Any, share: float) -> None:
    try:
        spec = parse(SweepSpec, {"parameters": {"lr": space}, "objective": "val_accuracy"}, "sweep")
    except InvalidSpec as error:
        refused = str(error)
    else:
        check(Space(spec.parameters), share)
        return
    assert "\n" not in refused
    assert len(refused.encode()) < 4_000


def check(found: Space, share: float) -> None:
    """A space has values, and one at each share of it."""
    assert found.size >= 1
    found.decode(found.from_unit([share]))


@fuzzed
@given(st.sampled_from(["[", "{", "a: ", "- ", "9", "&a ", "*a", "!!", "\0", "2024-13-45"]), st.integers(1, 30_000))
def test_no_document_breaks_the_parser(part: str, times: int) -> None:
    try:
        parse(SweepSpec, part * times, "sweep")
    except InvalidSpec as error:
        refused = str(error)
    else:
        return
    assert "\n" not in refused
