"""The command line as people and scripts use it: real processes, real runs."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures import typed

PIPELINES = Path(__file__).with_name("pipelines.py")
DEADLINE_S = 120
ESCAPE = "\x1b["


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("SHIPWAY_", "AWS_", "NO_COLOR"))}
    return {**kept, "SHIPWAY_HOME": str(tmp_path / "home"), "SHIPWAY_STORE": f"file://{tmp_path}/store"}


def shipway(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return typed.run(arguments, cwd=Path.cwd(), env=environment)


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain until {what}"
        time.sleep(0.05)


def lives(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_run_in_json_is_one_object_and_typed_again_comes_from_the_cache(environment: dict[str, str]) -> None:
    command = ("run", f"{PIPELINES}:chain", "--local", "--json", "--param", "start=3", "label=y")
    first = shipway(environment, *command)
    assert first.returncode == 0, first.stderr
    summary = json.loads(first.stdout)
    assert summary["state"] == "Succeeded"
    assert summary["parameters"] == {"start": 3, "label": "y"}
    assert [step["cached"] for step in summary["steps"]] == [False, False, False]
    again = json.loads(shipway(environment, *command).stdout)
    assert again["run"] == summary["run"]
    assert [step["state"] for step in again["steps"]] == ["Cached", "Cached", "Skipped"]
    listed = json.loads(shipway(environment, "runs", "list", "--json").stdout)
    assert [(run["run"], run["state"]) for run in listed] == [(summary["run"], "Succeeded")]
    shown = json.loads(shipway(environment, "runs", "show", "--json").stdout)
    assert shown["steps"] == again["steps"]


def test_a_run_for_people_is_a_plan_a_line_by_step_and_what_to_type_next(environment: dict[str, str]) -> None:
    found = shipway(environment, "run", f"{PIPELINES}:chain", "--local", "--param", "start=1")
    assert found.returncode == 0, found.stderr
    plan, steps, end = (found.stdout.find(words) for words in ("Plan:", "add-3   Skipped", "Next"))
    assert 0 <= plan < steps < end
    assert [line.split("  ")[0] for line in found.stderr.splitlines()] == ["add ...", "add", "add-2 ...", "add-2"]
    assert ESCAPE not in found.stdout + found.stderr


def test_a_users_mistake_inside_a_step_is_one_line_and_exit_code_2(environment: dict[str, str]) -> None:
    found = shipway(environment, "run", f"{PIPELINES}:refusing", "--local", "--param", "start=4")
    assert found.returncode == 2
    assert [line for line in found.stderr.splitlines() if line.startswith("error:")] == [
        "error: refuse: a: got 5, expected less"
    ]
    assert "Traceback" not in found.stdout + found.stderr
    logs = shipway(environment, "logs", "last", "refuse")
    assert "a: got 5, expected less" in logs.stdout


def _on_a_terminal(environment: dict[str, str], *arguments: str) -> str:
    """What a terminal would show."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(sys.executable, [sys.executable, "-m", "shipway", *arguments], {**environment, "TERM": "xterm"})
    shown = b""
    while True:
        try:
            block = os.read(terminal, 1 << 16)
        except OSError:  # the other side is closed
            break
        if not block:
            break
        shown += block
    os.waitpid(pid, 0)
    os.close(terminal)
    return shown.decode()


def test_a_terminal_gets_colours_and_no_color_is_honoured(environment: dict[str, str]) -> None:
    coloured = _on_a_terminal(environment, "run", f"{PIPELINES}:chain", "--local")
    assert f"{ESCAPE}1m" in coloured
    assert "✓" in coloured
    plain = _on_a_terminal({**environment, "NO_COLOR": "1"}, "run", f"{PIPELINES}:chain", "--local")
    assert "Succeeded" in plain
    assert not any(f"{ESCAPE}{colour}m" in plain for colour in range(30, 38))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_stopped_run_ends_its_steps_and_says_how_to_go_on(
    environment: dict[str, str], tmp_path: Path, number: signal.Signals
) -> None:
    marker = tmp_path / "marker"
    command = ["run", f"{PIPELINES}:hanging", "--local", "--param", f"marker={marker}"]
    process = subprocess.Popen(
        [sys.executable, "-m", "shipway", *command], env=environment, stdout=subprocess.PIPE, text=True,
        # A shell's background jobs, this test among them perhaps, ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    until(lambda: marker.exists() and bool(marker.read_text()), "the step runs")
    process.send_signal(number)
    out, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert "same command again" in out
    until(lambda: not lives(int(marker.read_text())), "the step is gone")


def test_down_leaves_nothing_running_and_is_safe_twice(environment: dict[str, str], tmp_path: Path) -> None:
    del environment["SHIPWAY_STORE"]  # the embedded store, as a newcomer has it
    marker = tmp_path / "marker"
    run = subprocess.Popen(
        [sys.executable, "-m", "shipway", "run", f"{PIPELINES}:hanging", "--local", "--param", f"marker={marker}"],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    until(lambda: marker.exists() and bool(marker.read_text()), "the step runs")
    server = json.loads((tmp_path / "home" / "store" / "server.json").read_text())["pid"]
    listed = json.loads(shipway(environment, "runs", "list", "--json").stdout)
    assert [run["state"] for run in listed] == ["Running"]
    stopped = json.loads(shipway(environment, "down", "--json").stdout)
    assert stopped["store"] is True
    assert len(stopped["runs"]) == 1
    assert run.wait(DEADLINE_S) in (1, 130)
    until(lambda: not lives(server), "the store is gone")
    until(lambda: not lives(int(marker.read_text())), "the step is gone")
    again = shipway(environment, "down")
    assert again.returncode == 0
    assert again.stdout == "Nothing of ours was running.\n"


def test_a_run_here_is_watched_retried_and_cloned_by_the_words_that_a_cluster_knows(
    environment: dict[str, str],
) -> None:
    command = ("run", f"{PIPELINES}:chain", "--local", "--json", "--param", "start=3", "label=y")
    first = json.loads(shipway(environment, *command).stdout)
    watched = shipway(environment, "watch", first["run"], "--json")
    assert json.loads(watched.stdout)["run"] == first["run"]
    retried = shipway(environment, "retry", first["run"])
    assert (retried.returncode, retried.stdout) == (2, "")
    assert "is Succeeded; only a failed or cancelled run can be retried" in retried.stderr
    clone = json.loads(shipway(environment, "clone", first["run"], "-p", "start=4", "--json").stdout)
    assert clone["run"] != first["run"]
    assert clone["parameters"] == {"start": 4, "label": "y"}
    cancelled = json.loads(shipway(environment, "cancel", first["run"], "--json").stdout)
    assert (cancelled["state"], cancelled["was_over"]) == ("Succeeded", True)
    assert shipway(environment, "artifacts", first["run"], "--json").stdout.startswith("[")
