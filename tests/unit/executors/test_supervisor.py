"""What only the process executor has: ports, folders, lines."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipway.errors import NotFound, ShipwayError, UserError
from shipway.executors.process import ports
from shipway.executors.process.folder import JobFolder, last_lines, read_lines
from shipway.executors.process.outside import Outside
from tests.fixtures.executor_rigs import ProcessRig
from tests.fixtures.manifests import SLEEP, tfjob, wait_for


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
    with open(folder / "supervisor.lock", "w") as lock:
        outside = Outside(folder, lock.fileno())
        assert outside.is_ours()
        folder.path.rename(tmp_path / "gone")
        assert not outside.is_ours()
        folder.path.mkdir()
        folder.write("state.json", {})
        assert not outside.is_ours()
        (folder / "supervisor.lock").touch()
        assert not outside.is_ours()


def test_a_supervisor_whose_job_was_deleted_before_its_first_look_leaves_the_successor_alone(tmp_path: Path) -> None:
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    handle = rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    wait_for(lambda: rig.alive(handle) == ["worker-0"], "it runs")
    folder = tmp_path / "home" / "jobs" / "j"
    before = (rig.pids(handle), json.loads((folder / "state.json").read_text())["pid"])
    with open(tmp_path / "supervisor.lock", "w") as lock:  # the deleted job's
        command = [sys.executable, "-m", "shipway.executors.process.supervisor", str(folder), str(lock.fileno())]
        subprocess.run(command, pass_fds=[lock.fileno()], check=True, timeout=30)
    assert (rig.pids(handle), json.loads((folder / "state.json").read_text())["pid"]) == before
    rig.executor.cancel(handle)


def test_a_job_that_takes_a_deleted_ones_name_is_held_by_whoever_ensured_it(tmp_path: Path) -> None:
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    rig.delete(rig.executor.ensure(tfjob("j", {"Worker": SLEEP})))
    handle = rig.executor.ensure(tfjob("j", {"Worker": SLEEP}))
    wait_for(lambda: rig.alive(handle) == ["worker-0"], "it runs")
    until = time.monotonic() + 1.5  # the supervisor looks for followers every 0.4 s
    while time.monotonic() < until:
        assert rig.alive(handle) == ["worker-0"]
    rig.executor.cancel(handle)


@pytest.mark.parametrize(("policy", "is_kept"), [("All", False), ("Running", True)])
def test_clean_pod_policy_all_takes_the_work_folders_along_and_leaves_the_logs(
    tmp_path: Path, policy: str, is_kept: bool
) -> None:
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    handle = rig.executor.ensure(tfjob("j", {"Worker": "print('x'); open('big', 'x')"}, clean=policy))
    assert rig.executor.follow(handle).state == "Succeeded"
    assert (tmp_path / "home" / "jobs" / "j" / "replicas" / "worker-0" / "work" / "big").exists() is is_kept
    assert [line.text for line in rig.executor.logs(handle)] == ["x"]


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


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two mebibytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_one_clear_line_when_a_job_is_to_start(small_disk: Path, tmp_path: Path) -> None:
    rig = ProcessRig(small_disk / "home", f"file://{tmp_path}/store")
    with (small_disk / "filler").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(small_disk).free)
    with pytest.raises(ShipwayError, match=r"job j: no space left on the disk of .*small/home .0 MiB free.; free some"):
        rig.executor.ensure(tfjob("j", {"Worker": "pass"}))
    (small_disk / "filler").unlink()
    assert rig.executor.follow(rig.executor.ensure(tfjob("j", {"Worker": "pass"}))).state == "Succeeded"


def test_a_replica_that_fills_the_disk_ends_the_job_with_a_clear_line(small_disk: Path, tmp_path: Path) -> None:
    rig = ProcessRig(small_disk / "home", f"file://{tmp_path}/store")
    handle = rig.executor.ensure(tfjob("j", {"Worker": "import os\nwhile True: os.write(1, b'x' * 4096)"}))
    try:
        outcome = rig.executor.follow(handle)
    except ShipwayError as error:
        assert "no space left on the disk" in str(error)  # noqa: PT017 - either end is a clear one
    else:
        assert outcome.first_failure is not None
        assert outcome.first_failure.replica == "worker-0"
    assert rig.pids(handle) == []


def test_a_home_that_is_a_file_is_the_users_to_mend(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    rig = ProcessRig(tmp_path / "home", f"file://{tmp_path}/store")
    with pytest.raises(UserError, match=r"job j: .*home.*: Not a directory; set SHIPWAY_HOME"):
        rig.executor.ensure(tfjob("j", {"Worker": "pass"}))


@pytest.mark.parametrize("name", ["../j", "/etc", "", "J"])
def test_a_name_never_leads_out_of_the_folder_of_jobs(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound, match="not on this machine"):
        ProcessRig(tmp_path / "home", f"file://{tmp_path}/store").executor.find(name)
