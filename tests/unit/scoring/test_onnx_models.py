from __future__ import annotations

import contextlib
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from shipway.errors import CorruptArtifact
from shipway.scoring.onnx_models import check_onnx
from shipway.scoring.runtimes import inference_bytes, open_onnx
from tests.unit.scoring.onnx_files import REFUSED, model, node, values, written


@pytest.mark.parametrize("what", sorted(REFUSED))
def test_what_could_do_more_than_compute_is_refused_before_it_is_opened(what: str, tmp_path: Path) -> None:
    make, reason = REFUSED[what]
    path = written(make(), tmp_path / "model.onnx")
    with pytest.raises(CorruptArtifact) as caught:
        open_onnx(path)
    message = str(caught.value)
    assert reason in message
    assert str(path) in message
    assert "not opened" in message
    assert "\n" not in message


def test_a_file_that_asks_for_gigabytes_takes_no_memory_to_refuse(tmp_path: Path) -> None:
    path = written(REFUSED["a huge ConstantOfShape"][0](), tmp_path / "model.onnx")
    code = (
        "import resource; from pathlib import Path\n"
        "from shipway.errors import CorruptArtifact\n"
        "from shipway.scoring.runtimes import open_onnx\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        f"try: open_onnx(Path({str(path)!r}))\n"
        "except CorruptArtifact: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16_000  # KB


def column_times_row(size: int) -> ModelProto:
    """What depends on no size of a request and is no constant either: 8 * size bytes ask for 4 * size * size."""
    steps = [("ReduceSum", ["x"], "r"), ("Add", ["c", "r"], "column"), ("Transpose", ["column"], "row"),
             ("MatMul", ["column", "row"], "t"), ("Identity", ["t"], "y")]  # fmt: skip
    weights = numpy_helper.from_array(np.zeros((size, 1), np.float32), "c")
    return model([node(operation, inputs, output) for operation, inputs, output in steps], [weights])


def test_what_an_inference_may_take_is_bounded_for_the_process_and_the_others_are_answered(tmp_path: Path) -> None:
    written(column_times_row(20_000), tmp_path / "large.onnx")
    written(column_times_row(20), tmp_path / "small.onnx")
    code = (
        "from pathlib import Path; import numpy as np\n"
        "from shipway.scoring import runtimes\n"
        "runtimes.inference_bytes = lambda: 256 << 20\n"
        "large, small = (runtimes.open_onnx(Path(name)) for name in ('large.onnx', 'small.onnx'))\n"
        "row = {'x': np.ones((1, 4), np.float32)}\n"
        "try: large.run(None, row)\n"
        "except Exception as error: print(error)\n"
        "print(small.run(None, row)[0].shape)\n"
        "print([line for line in open('/proc/self/status') if 'VmHWM' in line][0].split()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is smaller than requested bytes of 1600000000" in done.stdout
    *_, shape, peak = done.stdout.splitlines()
    assert shape == "(20, 20)"
    assert int(peak) < 512_000  # KB


def test_no_process_gives_all_of_its_memory_to_a_model() -> None:
    assert 0 < inference_bytes() <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def test_a_model_with_the_same_operations_within_bounds_is_opened(tmp_path: Path) -> None:
    made = model(
        [
            node("Shape", ["x"], "s"),
            node("ConstantOfShape", ["s"], "zeros"),
            node("Expand", ["one", "s"], "ones"),
            node("Add", ["zeros", "ones"], "t"),
            node("Tile", ["t", "twice"], "u"),
            node("Pad", ["u", "pads"]),
        ],
        [numpy_helper.from_array(np.float32(1), "one"), values("twice", 1, 2), values("pads", 0, 0, 0, 2)],
    )
    session = open_onnx(written(made, tmp_path / "model.onnx"), threads=1)
    assert session.run(None, {"x": np.zeros((3, 4), np.float32)})[0].shape == (3, 10)


def test_an_operation_may_be_allowed_by_a_person_and_by_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = model([node("HannWindow", ["size"])], [numpy_helper.from_array(np.array(8, np.int64), "size")])
    path = written(made, tmp_path / "model.onnx")
    with pytest.raises(CorruptArtifact, match="SHIPWAY_OPERATIONS=HannWindow"):
        check_onnx(path)
    monkeypatch.setenv("SHIPWAY_OPERATIONS", "Other, HannWindow")
    check_onnx(path)


def test_any_bytes_are_a_model_or_refused(tmp_path: Path) -> None:
    whole = model([node("MatMul", ["x", "w"])], [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")])
    data = whole.SerializeToString()
    chance = random.Random(3)
    path = tmp_path / "model.onnx"
    for _ in range(400):
        changed = bytearray(data[: chance.randint(1, len(data))])
        for _ in range(chance.randint(0, 4)):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path.write_bytes(changed)
        with contextlib.suppress(CorruptArtifact):  # any other error fails
            check_onnx(path)


@pytest.mark.parametrize("data", [b"", b"\xff" * 64, b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", b"\x0b" * 10, b"\0"])
def test_what_is_no_message_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    with pytest.raises(CorruptArtifact, match="not opened"):
        check_onnx(path)


def test_a_link_is_refused(tmp_path: Path) -> None:
    made = written(model([node("Relu", ["x"])]), tmp_path / "elsewhere.onnx")
    (tmp_path / "model.onnx").symlink_to(made)
    with pytest.raises(CorruptArtifact, match="link"):
        check_onnx(tmp_path / "model.onnx")
