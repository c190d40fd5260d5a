"""Processes that a run starts: what they import, what their end says, and what they leave behind."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from shipway import runs
from shipway.cli.machine import stop_everything
from shipway.errors import JobFailed
from shipway.local import hosting
from shipway.local.folder import RunFolder
from shipway.runs.here import Here

ROOT = Path(__file__).parents[2]
PIPELINES = Path(__file__).with_name("pipelines.py")
WORKING = f"{ROOT}/tests/fixtures/working_folder.py:working"
SHIPWAY = Path(sys.executable).with_name("shipway")
DEADLINE_S = 60
THIRD = """
    absl attr click docker fastapi google jinja2 kfp kserve kubernetes minio numpy obstore onnxruntime optuna orjson pip
    polars pydantic requests rich setuptools six sklearn tensorflow tf_keras typer urllib3 uvicorn xxhash yaml zstandard
    pipelines components sitecustomize usercustomize shipway
""".split()  # noqa: SIM905
# What the interpreter itself imports before the first line of ours, with PYTHONPATH's folders first.
AT_START = "import runpy, site, sys, importlib.util; print(*{name.partition('.')[0] for name in sys.modules})"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.setenv("TMPDIR", str(tmp_path / "t"))
    (tmp_path / "t").mkdir()
    return tmp_path / "home"


def hostile(folder: Path, marks: Path, *, but: set[str]) -> None:
    """Modules of many names, each of which writes down that it was executed, and breaks whoever executed it."""
    folder.mkdir()
    for name in {*sys.stdlib_module_names, *THIRD} - but:
        text = f"open({str(marks)!r}, 'a').write({name + chr(10)!r})\nraise RuntimeError('hostile {name}')\n"
        if name == "json":
            (folder / name).mkdir()
            (folder / name / "__init__.py").write_text(text)
        else:
            (folder / f"{name}.py").write_text(text)


def not_installed() -> set[str]:
    """Names that nothing here has, or a namespace only: on PYTHONPATH a namesake of theirs shadows nothing."""
    specs = {name: find_spec(name) for name in {*sys.stdlib_module_names, *THIRD}}
    return {name for name, spec in specs.items() if spec is None or spec.origin is None}


@pytest.mark.parametrize("way", ["script", "module", "path"])
def test_python_files_in_the_working_directory_shadow_nothing(home: Path, tmp_path: Path, way: str) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "mine"
    early = set(subprocess.check_output([sys.executable, "-P", "-c", AT_START], text=True).split())
    path = early | not_installed() | {"shipway", "sitecustomize", "usercustomize"}
    but = {"script": set(), "module": early | {"shipway"}, "path": path}
    hostile(folder, marks, but=but[way])
    command = [str(SHIPWAY)] if way == "script" else [sys.executable, "-m", "shipway"]
    python_path = f".{os.pathsep}{ROOT}" if way == "path" else str(ROOT)
    done = subprocess.run(
        [*command, "run", WORKING, "--local", "--param", f"text={way}"],
        cwd=folder, env={**os.environ, "PYTHONPATH": python_path}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert not marks.exists(), marks.read_text()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Succeeded" in done.stdout


def test_a_pipeline_of_ones_own_is_found_by_pythonpath_though_a_neighbour_is_called_random(
    home: Path, tmp_path: Path
) -> None:
    (tmp_path / "own_pipelines.py").write_text(PIPELINES.read_text())
    (tmp_path / "random.py").write_text("raise SystemExit('the wrong random')")
    done = subprocess.run(
        [SHIPWAY, "run", "own_pipelines:chain", "--local", "--param", "start=1"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    without = subprocess.run(
        [SHIPWAY, "run", "own_pipelines:chain", "--local", "--param", "start=1"],
        cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert without.returncode == 2
    assert "No module named 'own_pipelines'" in without.stderr


def test_a_pipeline_file_may_bear_a_librarys_name(home: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text(PIPELINES.read_text())
    assert runs.run(f"{tmp_path}/json.py:chain", {"start": 1}, wait=True).state == "Succeeded"


def test_a_host_that_does_not_import_says_so(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'Traceback (most recent call last):' >&2\necho '  x' >&2\n"
                      "echo \"ModuleNotFoundError: No module named 'kfp'\" >&2\nexit 1\n")  # fmt: skip
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(hosting.sys, "executable", str(broken))
    with pytest.raises(JobFailed, match=r"exit code 1.*No module named 'kfp'.*host\.log") as caught:
        runs.run(f"{PIPELINES}:chain", {"start": 1}, wait=True)
    log = Path(str(caught.value).rpartition(" ")[2])
    assert "Traceback" in log.read_text()


def host_of(run: runs.Run) -> subprocess.Popen[bytes]:
    assert isinstance(run.backend, Here)
    assert run.backend._host is not None
    return run.backend._host.process


def test_a_host_that_is_killed_is_told_by_its_signal(home: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    run = runs.run(f"{PIPELINES}:hanging", {"marker": str(marker)})
    until(lambda: marker.exists() and bool(marker.read_text()), "the step runs")
    host_of(run).kill()
    with pytest.raises(JobFailed, match=r"killed by signal 9 \(SIGKILL\): by somebody's kill -9, or by the kernel"):
        run.wait()


def test_a_step_that_is_killed_is_told_by_its_signal_not_by_its_logs_last_line(home: Path) -> None:
    run = runs.run(f"{PIPELINES}:killed", {}, wait=True)
    assert run.record.error is not None
    assert run.record.error.kind == "Killed"
    assert "killed by signal 9 (SIGKILL)" in run.record.error.message
    assert run.record.error.message.endswith("kill-me.log")
    assert "\n" not in run.record.error.message


def test_a_full_disk_is_named(home: Path, small_disk: Path) -> None:
    filled = runs.run(f"{PIPELINES}:filling", {"folder": str(small_disk)})
    with pytest.raises(JobFailed, match=f"no space left on the disk of {small_disk}"):
        filled.wait().raise_for_state()


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """The home on a disk of 1 MiB."""
    home.mkdir()
    is_root = os.geteuid() == 0
    if not is_root or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", home], check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield home
    subprocess.run(["umount", "-l", home], check=True)


def test_a_run_leaves_no_temporary_file(home: Path, tmp_path: Path) -> None:
    run = runs.run(f"{PIPELINES}:chain", {"start": 1}, wait=True)
    assert run.state == "Succeeded"
    assert list((tmp_path / "t").iterdir()) == []
    assert list((home / "tmp").iterdir()) == []


@pytest.mark.parametrize("mended_by", ["the next run", "down"])
def test_temporary_files_of_a_killed_run_go(home: Path, tmp_path: Path, mended_by: str) -> None:
    marker = tmp_path / "marker"
    run = runs.run(f"{PIPELINES}:hanging", {"marker": str(marker)})
    until(lambda: marker.exists() and bool(marker.read_text()), "the step runs")
    host_of(run).kill()
    host_of(run).wait()
    assert len(list((home / "tmp").iterdir())) == 1
    until(lambda: not RunFolder(home, run.key).host_lives(), "the lock is free")
    if mended_by == "down":
        stop_everything()
    else:
        assert runs.run(f"{PIPELINES}:chain", {"start": 1}, wait=True).state == "Succeeded"
    assert list((home / "tmp").iterdir()) == []
    assert list((tmp_path / "t").iterdir()) == []


@pytest.mark.parametrize("words", [["runs", "list"], ["runs", "list", "--json"], ["list"], ["--help"], ["nope"]])
def test_a_closed_standard_output_is_no_traceback(home: Path, words: list[str]) -> None:
    runs.run(f"{PIPELINES}:chain", {"start": 1}, wait=True)
    reading, writing = os.pipe()
    os.close(reading)
    gone = subprocess.run([SHIPWAY, *words], stdout=writing, stderr=subprocess.PIPE, text=True, timeout=120)
    os.close(writing)
    assert "Traceback" not in gone.stderr
    assert "Exception ignored" not in gone.stderr
    assert gone.returncode == (2 if words == ["nope"] else 128 + signal.SIGPIPE)
    closed = subprocess.run(
        ["sh", "-c", f"{SHIPWAY} {' '.join(words)} >&-"], capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in closed.stderr
    assert closed.returncode == (2 if words == ["nope"] else 0)
    full = subprocess.run(
        ["sh", "-c", f"{SHIPWAY} {' '.join(words)} > /dev/full"], capture_output=True, text=True, timeout=120
    )
    assert full.returncode == (2 if words == ["nope"] else 1)
    assert "error: " in full.stderr
    assert "Traceback" not in full.stderr


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"still waiting until {what}"
        time.sleep(0.02)


def test_a_host_that_was_made_ready_for_another_home_is_not_taken(home: Path, tmp_path: Path) -> None:
    hosting.prepare_host(tmp_path / "another")  # its parameters were refused
    assert runs.run(f"{PIPELINES}:chain", {"start": 1}, wait=True).state == "Succeeded"
