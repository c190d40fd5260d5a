"""images/<name>/*.txt: what uv.lock says, in the words of pip, with hashes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tools.images.settings import ROOT

UV = ROOT / ".uv" / "bin" / "uv"
HEAD = "# Written by `python -m tools.images lock` from uv.lock; change pyproject.toml and the lock, not this file.\n"


def _without(*names: str) -> list[str]:
    """Packages that are asked for and never imported, and what only they ask for."""
    return [word for name in names for word in ("--prune", name)]


# Packages ask for it to build something, none imports it.
BUILDS = ("setuptools", "wheel")
# A model server calls neither Kubeflow nor Kubernetes, has no terminal, fits no encoder (recipes/absent.py); kserve is
# imported without pandas (predict/light.py) and its generator of gRPC code.
NOT_SERVED = _without(
    "kfp", "kfp-kubernetes", "kubeflow-training", "kubernetes", "pandas", "polars", "grpcio-tools", "rich",
    "typer", *BUILDS,
)  # fmt: skip
# libclang: 64 MB that TensorFlow's wheel asks for and never imports (it generates bindings with it).
EXPORTS = {
    "build-requirements.txt": ["--only-group", "image-build"],
    "launcher/requirements.txt": _without("polars", *BUILDS),  # it reads no rows
    "predictor/requirements.txt": ["--extra", "serve", *NOT_SERVED],
    "tensorflow/requirements-cpu.txt": [
        "--extra",
        "train",
        "--extra",
        "language",
        "--no-emit-package",
        "libclang",
        *_without(*BUILDS),
    ],
    "horovod/requirements.txt": [
        "--extra",
        "train",
        "--extra",
        "horovod",
        "--no-emit-package",
        "libclang",
        *_without(*BUILDS),
    ],
    "horovod/build-requirements.txt": ["--only-group", "horovod-build"],
}
NOT_DOWNLOADED = "huggingface-hub ; sys_platform == 'never'\n"  # as pyproject.toml says of the lock
HOROVOD = ROOT / "tools/horovod-wheel.sh"  # built from source: no lock has it
CONTENTS = ROOT / "src/shipway/code/contents.json"
CUDA = "tensorflow/requirements-cuda.txt"


def exports() -> dict[str, str]:
    """File below images/ -> the content that uv.lock gives now, for all that the lock decides (not CUDA)."""
    texts = {name: _export(options) for name, options in EXPORTS.items()}
    # Only what comes on top of the image that horovod stands on.
    below = {_name(block) for block in _blocks(texts["tensorflow/requirements-cpu.txt"])}
    mine = (block for block in _blocks(texts["horovod/requirements.txt"]) if _name(block) not in below)
    texts["horovod/requirements.txt"] = "".join(mine)
    return {name: HEAD + text for name, text in texts.items()}


def cuda() -> str:
    """The extra `gpu`, which the lock overrides away: resolved beside it, with its versions of what both have, and
    `language`."""
    with tempfile.TemporaryDirectory() as folder:
        constraints, overrides = Path(folder, "constraints.txt"), Path(folder, "overrides.txt")
        constraints.write_text(_export(["--extra", "train", "--extra", "language", "--no-hashes"]), encoding="utf-8")
        overrides.write_text(NOT_DOWNLOADED, encoding="utf-8")
        words = ["--no-config", "pip", "compile", "pyproject.toml", "--extra", "gpu", "--extra", "language"]
        words += ["--generate-hashes", "--quiet"]
        words += ["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"]
        words += ["--constraints", str(constraints), "--overrides", str(overrides)]
        left_out = [word for name in ("libclang", *BUILDS) for word in ("--no-emit-package", name)]
        text = _uv(*words, "--no-header", "--no-annotate", *left_out)
    return HEAD.replace("uv.lock", "the extra `gpu`, constrained by uv.lock") + text


def contents(texts: Mapping[str, str]) -> str:
    """Distribution -> version in any of the images: what a person's code may count on, and may not bring otherwise."""
    blocks = [block for name, text in texts.items() if "build" not in name for block in _blocks(text)]
    pins = dict(re.findall(r"^([a-z0-9.\-]+)==([^\s;]+)", "".join(sorted(set(blocks))), flags=re.MULTILINE))
    built = re.search(r"^version=(\S+)$", HOROVOD.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert built, f"{HOROVOD} names no version"
    pins["horovod"] = built[1]
    return json.dumps(pins, indent=1, sort_keys=True) + "\n"


def write() -> int:
    """Writes every file."""
    texts = {**exports(), CUDA: cuda()}
    for name, text in texts.items():
        (ROOT / "images" / name).write_text(text, encoding="utf-8")
    CONTENTS.write_text(contents(texts), encoding="utf-8")
    return 0


def check() -> int:
    """Names the files that differ; 1 if there are any."""
    wanted = {ROOT / "images" / name: text for name, text in exports().items()}
    written = {name: (ROOT / "images" / name).read_text(encoding="utf-8") for name in (*EXPORTS, CUDA)}
    wanted[CONTENTS] = contents(written)
    stale = [path.relative_to(ROOT) for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path} is not what uv.lock gives; run python -m tools.images lock", file=sys.stderr)
    return 1 if stale else 0


def _export(options: list[str]) -> str:
    return _uv("export", "--frozen", "--no-emit-project", "--no-header", "--no-annotate", "--quiet", *options)


def _uv(*words: str) -> str:
    environment = {**os.environ, "UV_SYSTEM_CERTS": "1"}
    text = subprocess.check_output([UV if Path(UV).exists() else "uv", *words], cwd=ROOT, text=True, env=environment)
    # uv may name the index that it asked; which one that was is this machine's affair.
    return "".join(
        line for line in text.splitlines(keepends=True) if not line.startswith(("--index-url", "--extra-index"))
    )


def _blocks(text: str) -> list[str]:
    """Requirements, each with its lines of hashes."""
    return re.findall(r"^\S(?:.*\\\n)*.*\n", text, flags=re.MULTILINE)


def _name(block: str) -> str:
    return block.split("==")[0].split("[")[0]
