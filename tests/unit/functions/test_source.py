"""A function's source with all that it needs stands alone; what cannot travel is named with its place."""

from __future__ import annotations

import functools
import linecache
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shipway.code.checking import contents
from shipway.errors import InvalidSpec
from shipway.functions.source import Source, extract
from tests.fixtures import own_functions as own

HERE = os.path.relpath(own.__file__)


def runs_alone(source: Source, folder: Path, call: str) -> str:
    """What a call gives in a process that knows nothing but the files."""
    for path, text in source.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    code = f"import sys; sys.path.insert(0, {str(folder)!r}); import {source.module} as m; print({call})"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_a_function_travels_with_what_it_uses_and_gives_the_same_elsewhere(tmp_path: Path) -> None:
    source = extract(own.train)
    assert source.reference == "own_train:train"
    assert list(source.files) == ["own_train.py"]
    assert runs_alone(source, tmp_path, "m.train(0.25, layers=9)['accuracy']") == str(own.train(0.25)["accuracy"])
    assert set(source.requirements) == {"numpy", "shipway"}
    for line in ("RATE = 0.5", "NAMES = ['a', {'b': (1, 2.5)}]", "from numpy import exp", "import math",
                 "import xml.etree.ElementTree", "class Model:", "@functools.lru_cache"):  # fmt: skip
        assert line in source.text
    for word in ("LOCK", "TABLE", "threading", "uses_a_lock"):
        assert word not in source.text


def test_the_same_function_gives_the_same_source_each_time() -> None:
    assert extract(own.train) == extract(own.train)


def test_values_by_their_names_travel_as_source_that_makes_equal_ones(tmp_path: Path) -> None:
    source = extract(own.uses_values)
    assert runs_alone(source, tmp_path, "m.uses_values()") == own.uses_values()


def test_what_has_no_order_is_the_same_source_in_every_process() -> None:
    code = (
        "from shipway.functions.values import written; print(written({'fire', 'earth', 'water', 'air', 'void'}).text)"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, text=True, check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert texts == {"{'air', 'earth', 'fire', 'void', 'water'}\n"}


REFUSED: list[tuple[Any, str]] = [
    (
        own.uses_a_lock,
        rf"{HERE}:\d+: uses_a_lock uses the global 'LOCK', of type lock, .*make it inside the function, or",
    ),
    (own.uses_an_array, r"uses_an_array uses the global 'LARGE', of type ndarray, .*write it to a file, and read that"),
    (own.uses_what_changes_as_it_is_made, r"uses the global 'TWICE', of type Twice"),
    (own.uses_a_circle, r"uses the global 'ENDLESS_LIST', of type list"),
    (own.is_hidden, r"is_hidden is a function 'inner' that a decorator made.*put @functools.wraps above inner"),
    (own.shown(own.opposite), r"opposite was decorated by a call, which would be lost; write the decorator with @"),
    (functools.partial(own.bowl, dropout=0.1), r"a functools.partial of bowl .*give bowl itself, and dropout with its"),
    (own.Caller, r"the class Caller has no source that could travel"),
    (own.uses_nothing_there, r"uses 'helpr', which is not defined \(did you mean 'helper'\?\); define or import it"),
    (own.writes_a_global, r"writes_a_global assigns the global 'RATE', which no other process would see; return it"),
    (own.imports_what_is_not_there, r"imports 'no_such_package_anywhere', which is not installed here; pip install"),
    (own.imports_relatively, r"imports_relatively imports relatively; name the package in full"),
    (own.made(1.0), r"closes_over closes over 'bias' of the function around it.*pass bias as a parameter"),
    (own.nameless, rf"{HERE}:\d+: a lambda cannot travel; give it a name: def train"),
    (own.generates, r"generates is async or a generator"),
    (own.Caller(), r"a Caller has no source that could travel; give a function made by `def`"),
    (own.Caller().method, r"Caller\.method is a method of an object"),
    (print, r"a builtin_function_or_method has no source"),
    (3, r"function: got int 3, expected a function"),
]


@pytest.mark.parametrize(("function", "message"), REFUSED, ids=[message[:40] for _, message in REFUSED])
def test_what_cannot_travel_is_named_in_one_line(function: Callable[..., Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        extract(function)
    assert "\n" not in str(caught.value)


def test_an_import_that_may_fail_is_no_requirement() -> None:
    assert "no_such" not in str(extract(own.tries_an_import).requirements)


def test_a_function_of_a_console_has_no_source() -> None:
    namespace: dict[str, Any] = {}
    exec("def typed(x):\n    return x\n", namespace)
    with pytest.raises(InvalidSpec, match="typed: the function has no source that could be read; define it in a cell"):
        extract(namespace["typed"])


def test_a_cell_of_a_notebook_is_read_with_its_classes(tmp_path: Path) -> None:
    cell = "class Net:\n    def __init__(self, n):\n        self.n = n\n\ndef fit(n):\n    return Net(n).n * SCALE\n"
    linecache.cache["<cell-7>"] = (len(cell), None, cell.splitlines(keepends=True), "<cell-7>")
    namespace: dict[str, Any] = {"__name__": "__main__", "SCALE": 3}
    exec(compile(cell, "<cell-7>", "exec"), namespace)
    source = extract(namespace["fit"])
    assert source.where == "<cell-7>:5"
    assert runs_alone(source, tmp_path, "m.fit(4)") == "12"


def test_a_module_of_ones_own_travels_with_those_that_it_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "own_lib"
    package.mkdir()
    (package / "__init__.py").write_text("from own_lib.deep import DEPTH\n")
    (package / "deep.py").write_text("import own_base\nDEPTH = own_base.BASE + 1\n")
    (tmp_path / "own_base.py").write_text("BASE = 40\n")
    (tmp_path / "own_main.py").write_text("import own_lib\n\ndef go(x):\n    return own_lib.DEPTH + x\n")
    monkeypatch.syspath_prepend(tmp_path)
    import own_main  # type: ignore[import-not-found]

    source = extract(own_main.go)
    assert sorted(source.files) == ["own_base.py", "own_go.py", "own_lib/__init__.py", "own_lib/deep.py"]
    assert runs_alone(source, tmp_path / "elsewhere", "m.go(1)") == "42"


def test_what_the_image_lacks_is_refused_for_the_cluster_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    source = extract(own.train)
    source.check_image()
    known = {name: version for name, version in contents().items() if name != "numpy"}
    monkeypatch.setattr("shipway.functions.source.contents", lambda: known)
    with pytest.raises(InvalidSpec, match="train imports numpy, which the images of trials and replicas do not have"):
        source.check_image()
