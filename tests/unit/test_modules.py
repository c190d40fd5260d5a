"""Where Python looks for modules, in our processes and in those that we start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shipway import modules

SHOW = "import sys, shipway; print(*sys.path, sep=chr(10))"


def path_of(code: list[str], cwd: Path, environment: dict[str, str]) -> list[str]:
    done = subprocess.run([sys.executable, *code], cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_child_finds_own_folders_last_and_the_working_directory_never(tmp_path: Path) -> None:
    environment = modules.for_child({**os.environ, "PYTHONPATH": f":{tmp_path}/own:rel"})
    assert "PYTHONPATH" not in environment
    environment[modules.OWN] = f"{tmp_path}/own"
    found = path_of(["-c", SHOW], tmp_path, environment)
    assert found[-1] == f"{tmp_path}/own"
    assert not {"", str(tmp_path)} & set(found)


def test_what_stands_for_a_container_is_given_pythonpath_as_it_was_however_many_of_ours_stand_between() -> None:
    first = modules.for_child({"PYTHONPATH": "src:/opt/mine", "X": "1"})
    found = modules.for_container(modules.for_child(modules.for_child(first)))
    assert (found["PYTHONPATH"], found["X"]) == (f"{os.getcwd()}/src:/opt/mine", "1")
    assert modules.SAFE not in found
    assert modules.for_container({"PYTHONPATH": "src"})["PYTHONPATH"] == f"{os.getcwd()}/src"
    assert "PYTHONPATH" not in modules.for_container(modules.for_child({}))


def test_a_strangers_program_that_imports_us_keeps_its_path_as_it_is(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = path_of(["-c", SHOW], tmp_path, environment)
    assert found[:2] == ["", str(tmp_path)]


def test_the_module_that_a_person_names_is_taken_from_their_folder_before_an_installed_namesake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tabulate.py").write_text("who = 'mine'")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "tabulate", raising=False)
    try:
        assert modules.load("tabulate").who == "mine"  # type: ignore[attr-defined]
    finally:
        del sys.modules["tabulate"]


def test_a_runs_code_takes_no_entry_out_of_the_path_but_that_of_the_run_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty entry is a notebook's own folder."""
    monkeypatch.setattr(sys, "path", ["/lib", "", "/more"])
    monkeypatch.setattr(modules, "_code", "")
    modules.use_code("/code/1")
    assert sys.path == ["/lib", "", "/more", "/code/1"]
    modules.use_code("/code/2")
    assert sys.path == ["/lib", "", "/more", "/code/2"]
    modules.use_code("")
    assert sys.path == ["/lib", "", "/more"]
