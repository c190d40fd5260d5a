"""Marks of tests become the table of strategies, and a mark that says what there is not is refused with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import strategy_table
from tools.strategy_table import EMPTY, Proof, proofs

MARK = '@pytest.mark.proves(recipe="intents", strategy="{}", executor="process"{})\n'


def written(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> list[Proof]:
    (folder / "test_one.py").write_text(text)
    monkeypatch.setattr(strategy_table, "ROOT", folder)
    return proofs(folder)


def test_marks_on_tests_and_on_params_become_cells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    param = 'pytest.param(1, marks=pytest.mark.proves(recipe="intents", strategy="mirrored", executor="kubernetes"))'
    text = (
        MARK.format("single", "") + MARK.format("horovod", ", refused=True") + "def test_it_works() -> None: ...\n"
        f"@pytest.mark.parametrize('n', [{param}])\ndef test_mirrors(n: int) -> None: ...\n"
    )
    found = written(tmp_path, text, monkeypatch)
    assert {(one.strategy, one.executor, one.test, one.is_refusal) for one in found} == {
        ("single", "process", "test_it_works", False),
        ("horovod", "process", "test_it_works", True),
        ("mirrored", "kubernetes", "test_mirrors", False),
    }
    lines = strategy_table.strategy_table(found).splitlines()
    process, kubernetes = (line for line in lines if line.startswith("| `intents`"))
    cell = "[it works](../test_one.py)"
    assert process == f"| `intents` | `process` | {cell} | {EMPTY} | {EMPTY} | {EMPTY} | refused: {cell} |"
    assert kubernetes.count(EMPTY) == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            MARK.format("sinlge", "") + "def test_a(): ...\n",
            r"test_one\.py:1: proves: strategy 'sinlge'; expected one of si",
        ),
        (
            MARK.format("single", ", when=1") + "def test_a(): ...\n",
            r"proves: has recipe, strategy, executor, when; expect",
        ),
        (
            '@pytest.mark.proves("intents")\ndef test_a(): ...\n',
            r"proves: has nothing; expected recipe, strategy, executor",
        ),
        (
            MARK.format("single", "").replace('"intents"', "NAME") + "def test_a(): ...\n",
            r"proves: expected literal values",
        ),
        (MARK.format("single", "") + "def helper(): ...\n", r"test_one\.py:1: `proves` marks no test"),
    ],
)
def test_a_mark_that_says_what_there_is_not_is_refused(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=message):
        written(tmp_path, text, monkeypatch)
