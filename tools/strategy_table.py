"""Writes the table recipe x strategy x executor of docs/recipes.md from tests; `--check` says whether it is up to date.

A test says what it shows by a mark, several where it shows several:

    @pytest.mark.proves(recipe="intents", strategy="horovod", executor="process")

that is: the test trains that recipe by that strategy in jobs of that executor to a published model (`refused=True`: it
shows the line that refuses it). Marks are read from the source, on a test or on `pytest.param`: nothing is imported or
run, since tests of a cluster need one.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from shipway.recipes import BUILT_IN
from shipway.training.spec import Strategy

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recipes.md"
BEGIN, END = "<!-- strategies: python tools/strategy_table.py -->", "<!-- /strategies -->"
STRATEGIES: tuple[str, ...] = get_args(Strategy)
EXECUTORS = ("process", "kubernetes")
OTHERS = ("a recipe of your own", "a fit of your own")  # rows beside the shipped recipes
FIELDS = ("recipe", "strategy", "executor")
EMPTY = "no test"


@dataclass(frozen=True)
class Proof:
    """What one test shows."""

    recipe: str
    strategy: str
    executor: str
    test: str
    path: str
    is_refusal: bool = False


def proofs(folder: Path) -> list[Proof]:
    """Every mark below a folder of tests, in the order of paths.

    Raises:
        ValueError: a mark says what there is not; names the file and the line.
    """
    proven = []
    for path in sorted(folder.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        if "mark.proves" not in text:
            continue
        seen: set[ast.Call] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = [mark for decorator in node.decorator_list for mark in _marks(decorator)]
                proven += [_proof(mark, node.name, path) for mark in marks]
                seen |= {*marks}
        if lost := [mark.lineno for mark in _marks(ast.parse(text)) if mark.lineno not in {one.lineno for one in seen}]:
            raise ValueError(f"{path}:{lost[0]}: `proves` marks no test; put it on a test or on its pytest.param")
    return proven


def _marks(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "proves":
            yield node


def _proof(mark: ast.Call, test: str, path: Path) -> Proof:
    where = f"{path}:{mark.lineno}: proves"
    try:
        given = {str(each.arg): ast.literal_eval(each.value) for each in mark.keywords}
    except ValueError as error:
        raise ValueError(f"{where}: expected literal values, {', '.join(FIELDS)}") from error
    is_refusal = given.pop("refused", False)
    if set(given) != {*FIELDS} or mark.args:
        raise ValueError(f"{where}: has {', '.join(given) or 'nothing'}; expected {', '.join(FIELDS)}, by name")
    for field, known in zip(FIELDS, ((*BUILT_IN, *OTHERS), STRATEGIES, EXECUTORS), strict=True):
        if given[field] not in known:
            raise ValueError(f"{where}: {field} {given[field]!r}; expected one of {', '.join(known)}")
    return Proof(**given, test=test, path=path.relative_to(ROOT).as_posix(), is_refusal=bool(is_refusal))


def strategy_table(proven: list[Proof]) -> str:
    """A Markdown table: a row for each recipe and executor, a column for each strategy."""
    lines = [
        f"| recipe | jobs by | {' | '.join(f'`{name}`' for name in STRATEGIES)} |",
        "|---" * (2 + len(STRATEGIES)) + "|",
    ]
    for recipe in (*BUILT_IN, *OTHERS):
        name = f"`{recipe}`" if recipe in BUILT_IN else recipe
        for executor in EXECUTORS:
            mine = [one for one in proven if (one.recipe, one.executor) == (recipe, executor)]
            cells = [_cell([one for one in mine if one.strategy == strategy]) for strategy in STRATEGIES]
            lines.append(f"| {name} | `{executor}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(proven: list[Proof]) -> str:
    links = []
    for one in proven:
        words = one.test.removeprefix("test_").replace("_", " ")
        links.append(f"{'refused: ' if one.is_refusal else ''}[{words}](../{one.path})")
    return "<br>".join(links) or EMPTY


def with_table(text: str, table: str) -> str:
    """The page with the table between the markers.

    Raises:
        ValueError: the markers are missing.
    """
    if BEGIN not in text or END not in text:
        raise ValueError(f"{PAGE.name}: the lines {BEGIN!r} and {END!r} are missing; put them where the table belongs")
    return re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{table}\n{END}", text, flags=re.DOTALL)


def main() -> int:
    """0 when the page is up to date (or was written), 1 when it is not."""
    text = PAGE.read_text(encoding="utf-8")
    wanted = with_table(text, strategy_table(proofs(ROOT / "tests")))
    if "--check" in sys.argv:
        if text != wanted:
            print("docs/recipes.md: the table of strategies is not up to date; run python tools/strategy_table.py")
        return int(text != wanted)
    PAGE.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
