"""What a person named is loaded, or one line says why not and where."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway.errors import InvalidSpec
from shipway.objects import load_object
from shipway.recipes import load_recipe

BROKEN = {
    "own_syntax": ("def x(:\n", r"SyntaxError: invalid syntax \(own_syntax.py, line 1\)"),
    "own_needs": (
        "import no_such_lib\n",
        r"ModuleNotFoundError: No module named 'no_such_lib' \(own_needs.py:1: import",
    ),
    "own_raises": ("x = [1]\nx[3]\n", r"IndexError: list index out of range \(own_raises.py:2: x\[3\]\)"),
    "own_exits": ("import sys\nsys.exit(4)\n", r"SystemExit: 4 \(own_exits.py:2: sys.exit\(4\)\)"),
    "own_lacks": ("recipes = 1\n", r"module 'own_lacks' has no 'recipe' \(did you mean 'recipes'\?\)"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_module_that_does_not_import_is_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, line = BROKEN[name]
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InvalidSpec, match=rf"^recipe: '{name}:recipe' cannot be loaded: {line}") as caught:
        load_recipe(f"{name}:recipe")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_asks_for_its_package() -> None:
    for module in ("no_such_module", "no_such_module.inner"):
        with pytest.raises(
            InvalidSpec, match=r"No module named 'no_such_module'; is its package on PYTHONPATH, or given"
        ):
            load_object(f"{module}:recipe", "recipe")


def test_a_class_is_no_recipe_before_it_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_class.py").write_text("from shipway.recipes.intents import recipe as made\nrecipe = type(made)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        InvalidSpec, match=r"'own_class:recipe' is a class, not a recipe; make one of it: recipe = \w+\(\)"
    ):
        load_recipe("own_class:recipe")
