"""What only the process executor has: ports, folders, lines."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from shipway.executors.process import ports
from shipway.executors.process.folder import JobFolder, last_lines, read_lines
from shipway.executors.process.outside import Outside
from tests.fixtures.executor_rigs import ProcessRig
from tests.fixtures.manifests import tfjob


def test_a_port_taken_by_a_stranger_is_chosen_anew_without_counting_as_a_restart(tmp_path: Path) -> None:
    # worker-1 binds its own port from another session before it fails: to the supervisor, a stranger has it.
    code = """
import json, os, socket, subprocess, sys
config = json.loads(os.environ["TF_CONFIG"])
port = config["cluster"]["worker"][config["task"]["index"]].split(":")[1]
if os.environ["SHIPWAY_REPLICA"] == "worker-1" and os.environ["SHIPWAY_RESTART"] == "0":
    hold = "import socket, sys, time; s = socket.socket(); s.bind(('127.0.0.1', int(sys.argv[1]))); s.listen();" \\
           "print('held', flush=True); time.sleep(120)"
    clean = {"PATH": os.environ["PATH"]}
    held = subprocess.Popen([sys.executable, "-I", "-S", "-c", hold, port], env=clean, start_new_session=True,
                            stdout=subprocess.PIPE)
    held.stdout.readline(); print("stranger", held.pid, flush=True)
    print("Address already in use", flush=True); sys.exit(1)
print("port", port, flush=True)
"""
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    handle = rig.executor.ensure(tfjob("j", {"Worker": (2, code)}, success="AllWorkers"))
    outcome = rig.executor.follow(handle)
    lines = [line.text for line in rig.executor.logs(handle)]
    for line in lines:
        if line.startswith("stranger"):
            subprocess.run(["kill", line.split()[1]], check=True)
    assert outcome.state == "Succeeded"
    assert outcome.restarts == 0
    assert len({line for line in lines if line.startswith("port")}) >= 2


def test_free_ports_are_free_different_and_outside_the_ephemeral_range() -> None:
    found = ports.free_ports(50)
    assert len(set(found)) == 50
    assert all(ports.FIRST <= port < ports.LAST and ports.is_free(port) for port in found)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", found[0]))
        taken.listen()
        assert not ports.is_free(found[0])


def test_a_line_that_is_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"one\ntw")
    lines, offset = read_lines(path, 0)
    assert lines == ["one"]
    path.write_bytes(b"one\ntwo\n")
    assert read_lines(path, offset) == (["two"], 8)
    assert read_lines(tmp_path / "none", 0) == ([], 0)
    assert last_lines(path, 1) == ["two"]


def test_a_deleted_folder_is_not_taken_for_its_successor(tmp_path: Path) -> None:
    folder = JobFolder(tmp_path / "j")
    folder.path.mkdir()
    folder.write("state.json", {})
    outside = Outside(folder)
    assert outside.is_ours()
    folder.path.rename(tmp_path / "gone")
    assert not outside.is_ours()
    folder.path.mkdir()
    folder.write("state.json", {})
    assert not outside.is_ours()


def test_job_files_hold_credentials_and_are_closed_to_others(tmp_path: Path) -> None:
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    handle = rig.executor.ensure(tfjob("j", {"Worker": "pass"}))
    rig.executor.follow(handle)
    folder = tmp_path / "home" / "jobs" / "j"
    assert oct(folder.stat().st_mode)[-3:] == "700"
    for name in ("plan.json", "manifest.json", "state.json", "events.jsonl"):
        assert oct((folder / name).stat().st_mode)[-3:] == "600"


def test_the_supervisor_starts_without_heavy_modules() -> None:
    code = "import sys, json; import shipway.executors.process.supervisor; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & {"pydantic", "yaml", "kfp", "obstore", "numpy", "tensorflow", "kubernetes", "asyncio"}


def test_a_rank_wrapper_needs_nothing_but_the_standard_library() -> None:
    wrapper = Path(sys.modules["shipway.executors.process"].__file__ or "").with_name("rank.py")
    done = subprocess.run([sys.executable, "-I", "-S", str(wrapper)], capture_output=True, text=True, check=False)
    assert "OMPI_COMM_WORLD_RANK" in done.stderr  # imported well, and then misses mpirun


@pytest.mark.parametrize("text", ["", "not json"])
def test_a_half_written_progress_file_breaks_nothing(tmp_path: Path, text: str) -> None:
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    code = f"import os; open(os.environ['SHIPWAY_PROGRESS'], 'w').write({text!r})"
    handle = rig.executor.ensure(tfjob("j", {"Worker": code}))
    assert rig.executor.follow(handle).state == "Succeeded"
