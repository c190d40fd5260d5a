"""What is told of a process that ended."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from shipway import deaths

TENSORFLOW = [
    "2026-11-25 10:11:12.123456: I tensorflow/core/platform/cpu_feature_guard.cc:210] This binary is optimized",
    "To enable the following instructions: AVX2 FMA, in other operations, rebuild TensorFlow with the right flags.",
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "E0000 00:00:1732529472.123456   12345 cuda_dnn.cc:8310] Unable to register cuDNN factory",
    "I1125 10:11:12.123456 140 service.cc:148] XLA service 0x7f initialized",
]
KFP = ["[KFP Executor 2026-11-25 10:11:12,123 INFO]: Looking for component", "{", '    "inputs": {}', "}"]
RAISED = ["Traceback (most recent call last):", '  File "x", line 1, in f', "ValueError: no such row"]
AGAIN = ["", "During handling of the above exception, another exception occurred:", ""]
OURS = "error: params.rate: got -1, expected more than 0"


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([*TENSORFLOW, OURS, *TENSORFLOW], OURS.removeprefix("error: ")),
        ([*KFP, *RAISED, *TENSORFLOW], "ValueError: no such row"),
        ([*RAISED, *AGAIN, RAISED[0], "  y", "OSError: two"], "OSError: two"),
        ([*TENSORFLOW, "Segmentation fault, so it says", *KFP], "Segmentation fault, so it says"),
        ([*KFP, *TENSORFLOW], ""),
        (["}", "---", ""], ""),
        ([], ""),
    ],
)
def test_the_line_that_says_why_is_found_among_a_librarys_own(lines: list[str], words: str) -> None:
    assert deaths.last_words(lines) == words


@pytest.mark.parametrize(
    ("returncode", "told"),
    [
        (3, "exit code 3"),
        (-9, "killed by signal 9 (SIGKILL): by somebody's kill -9, or by the kernel or a container's limit"),
        (137, "killed by signal 9 (SIGKILL)"),
        (-11, "killed by signal 11 (SIGSEGV)"),
        (255, "exit code 255"),
    ],
)
def test_a_signal_is_named_with_who_may_have_sent_it(returncode: int, told: str) -> None:
    assert deaths.how(returncode).startswith(told)


def test_a_kill_by_the_kernel_for_want_of_memory_is_told_as_that() -> None:
    assert "out of memory, the kernel ended it" in deaths.how(-9, deaths.oom_kills() - 1)
    assert "out of memory" not in deaths.how(-9, deaths.oom_kills() + 1)


def test_a_full_disk_is_named_and_one_with_space_is_not(tmp_path: Path) -> None:
    assert deaths.full_disk(tmp_path / "not" / "there") == ""
    assert list(tmp_path.iterdir()) == []
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=False).returncode:
        pytest.skip("no right to mount")
    try:
        with pytest.raises(OSError, match="No space left"):
            (small / "filler").write_bytes(b"x" * (1 << 20))
        assert deaths.full_disk(small / "home").startswith(f"no space left on the disk of {small}/home")
    finally:
        subprocess.run(["umount", str(small)], check=True)
