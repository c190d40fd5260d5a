"""`down` and `cancel` say what they have seen."""

from __future__ import annotations

import fcntl
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer

from shipway.cli import control, machine
from shipway.local.folder import RunFolder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    return tmp_path / "home"


def test_down_names_what_goes_on_in_spite_of_it_and_ends_with_1(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shipway.local.folder.KILL_S", 0.1)
    monkeypatch.setattr(RunFolder.stop_host, "__defaults__", (0.1,))
    for run in ("gone", "stuck"):
        RunFolder(home, run).path.mkdir(parents=True)
    with RunFolder(home, "stuck").lock.open("w") as held:  # by this process, whose id the file does not tell
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(typer.Exit) as ended:
            machine.down()
    assert ended.value.exit_code == 1
    out, err = capsys.readouterr()
    assert "Nothing of ours was running" not in out
    assert err.startswith("error: run stuck: ")
    assert err.count("\n") == 1


def test_down_with_nothing_to_do_says_so_and_ends_with_0(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended:
        machine.down()
    assert ended.value.exit_code == 0
    assert capsys.readouterr().out == "Nothing of ours was running.\n"


@pytest.mark.parametrize("as_json", [False, True])
def test_a_run_that_has_not_ended_yet_is_not_called_cancelled(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    run = SimpleNamespace(key="r", is_here=True, state="Running", cancel=lambda: "Cancelling")
    monkeypatch.setattr("shipway.runs.starting.load_run", lambda *_, **__: run)
    with pytest.raises(typer.Exit) as ended:
        control.cancel("r", local=True, as_json=as_json)
    assert ended.value.exit_code == 1
    assert "has not ended yet" in capsys.readouterr().out or as_json
