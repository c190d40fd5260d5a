"""What a replica used: samples of real processes, the share of waiting, what is said of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shipway.artifacts import ReplicaUsage, Spread
from shipway.training import processes, usage
from shipway.training.nvml import Gpus

BUSY = "import time, sys\nheld = bytearray(200 << 20)\nprint('up', flush=True)\nwhile True: sum(range(10000))"
# What the driver's library answers for two GPUs, as nvml.h declares it; the first of them fails at its use.
DRIVER = """
typedef struct { unsigned int gpu, memory; } use_t;
typedef struct { unsigned long long total, free, used; } memory_t;
static int devices[2] = {0, 1};
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned int *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **device) { *device = &devices[index]; return 0; }
int nvmlDeviceGetUtilizationRates(void *device, use_t *use) {
  use->gpu = 73; use->memory = 9; return *(int *)device == 0 ? 999 : 0; }
int nvmlDeviceGetMemoryInfo(void *device, memory_t *m) { m->total = 80ull << 30; m->used = 5ull << 30; return 0; }
"""


def _until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_children_count_and_what_is_kept_can_be_read_again(tmp_path: Path) -> None:
    sampled = usage.Usage(f"file://{tmp_path}/job", "worker-1", every_s=0.05)
    child = subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        assert child.pid in processes.tree(os.getpid())
        _until(lambda: sampled.summary().cpu_cores.peak > 0.05 and sampled.summary().memory_bytes.peak > 200 << 20)
    finally:
        child.kill()
        child.wait()
    sampled.close()
    sampled.close()  # the second time nothing happens
    (kept,) = usage.kept(f"file://{tmp_path}/job")
    assert kept == sampled.summary()
    assert (kept.replica, kept.waited_for_input, kept.gpus) == ("worker-1", None, [])
    assert 0 < kept.cpu_cores.mean <= kept.cpu_cores.peak
    assert kept.memory_bytes.mean <= kept.memory_bytes.peak <= kept.memory_limit_bytes


def test_a_job_that_left_nothing_has_no_usage(tmp_path: Path) -> None:
    assert usage.kept(f"file://{tmp_path}/job") == []


def test_the_chief_comes_first_and_workers_by_their_numbers(tmp_path: Path) -> None:
    for name in ("worker-10", "worker-2", "chief-0"):
        usage.Usage(f"file://{tmp_path}/job", name).close()
    assert [each.replica for each in usage.kept(f"file://{tmp_path}/job")] == ["chief-0", "worker-2", "worker-10"]


def test_the_first_step_and_evaluations_are_no_waiting() -> None:
    clock = usage.InputClock()
    clock.pause()
    clock.step(100.0, 30.0)  # traced
    assert clock.share is None
    clock.step(101.0, 0.5)
    clock.go(200.0)  # an evaluation has ended
    clock.step(201.0, 0.0)
    assert clock.share == pytest.approx(0.25)
    clock.pause()  # another call of fit
    clock.step(300.0, 50.0)
    assert clock.share == pytest.approx(0.25)


def _usage(share: float | None, how: str = "stream", replica: str = "chief-0") -> ReplicaUsage:
    spread = Spread(mean=1.0, peak=2.0)
    return ReplicaUsage(
        replica=replica, seconds=9, cpu_cores=spread, cpu_limit=2, memory_bytes=spread, memory_limit_bytes=4,
        waited_for_input=share, input=how,
    )  # fmt: skip


def test_above_a_third_of_the_time_it_is_said_what_to_change() -> None:
    def hint(*usages: ReplicaUsage) -> str:
        return usage.hint(list(usages), cpu="1", memory_limit_mb=2048)

    assert hint() == hint(_usage(None)) == hint(_usage(0.33)) == ""
    said = hint(_usage(0.1), _usage(0.384, replica="worker-0"))
    assert said.startswith(
        "worker-0 waited for input 38 % of the time: training.input: memory keeps the rows in memory"
    )
    assert "raise training.resources.cpu (now 1)" in said
    assert "training.input" not in hint(_usage(0.9, "memory"))


def test_without_a_driver_there_are_no_gpus() -> None:
    gpus = Gpus("libthere-is-no-such-driver.so")
    assert (len(gpus), gpus.sample()) == (0, [])


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_gpus_are_read_as_the_drivers_header_declares_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "driver.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True)
    gpus = Gpus(str(library))
    assert len(gpus) == 2
    (second,) = gpus.sample()
    assert (second.index, second.use, second.used_bytes, second.total_bytes) == (1, 0.73, 5 << 30, 80 << 30)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert len(Gpus(str(library))) == 1
    assert Gpus(str(library)).sample() == []
