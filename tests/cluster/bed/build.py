"""Builds the bed's programs and images once; later beds take them from the cache.

The cache holds `tools-<hash>` (programs and the operators' own manifests), `debian-<hash>` (a root file system) and
`images-<hash>` (archives). The hashes are over the files that say how each is made, so that checkouts share them.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.bed import images, settings
from tests.cluster.bed.errors import BedError

KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl", "kube-proxy")
OWN = {"etcd": ("etcd", "."), "coredns": ("coredns", "."), "pause": ("tiny", "./pause"),
       "deliver": ("tiny", "./deliver")}  # fmt: skip
OPERATORS: dict[str, dict[str, str]] = json.loads((settings.TOOLS / "operators.json").read_text())


@dataclass(frozen=True)
class Built:
    """Where the parts are.

    Attributes:
        binaries: Programs by name.
        manifests: A folder for each operator, as its module has it.
        archives: The images.
    """

    binaries: Path
    manifests: Path
    archives: Path

    @property
    def complete(self) -> bool:
        """Whether all of it is there: each folder gets its name when it is whole."""
        return self.binaries.is_dir() and self.archives.is_dir()


def places() -> Built:
    """Where the parts of this checkout's bed are, or will be."""
    tools = settings.cache() / f"tools-{_tools_hash()}"
    archives = settings.cache() / f"images-{_images_hash()}"
    return Built(tools / "bin", tools / "manifests", archives)


def build() -> Built:
    """Builds what is not there yet: 20 minutes on two cores at first, then nothing.

    Raises:
        BedError: a program does not build; with what the compiler says.
    """
    built = places()
    if built.complete:
        return built
    settings.cache().mkdir(parents=True, exist_ok=True)
    with _locked(settings.cache() / "build.lock"):
        if not built.binaries.is_dir():
            _build_tools(built.binaries.parent)
        root = _root()
        if not built.archives.is_dir():
            with _whole(built.archives) as partial:
                images.write_all(built.binaries, root, partial)
    return built


def _build_tools(folder: Path) -> None:
    work = settings.cache() / "work"
    with _whole(folder) as partial:
        binaries, manifests = partial / "bin", partial / "manifests"
        binaries.mkdir()
        go = _Go(work)
        for name, (module, package) in OWN.items():
            go.build(settings.TOOLS / module, binaries / name, package)
        for name in KUBERNETES:
            go.build(settings.TOOLS / "kubernetes", binaries / name, f"k8s.io/kubernetes/cmd/{name}", _stamps())
        for name, pin in OPERATORS.items():
            source = go.download(pin)
            go.build(source, binaries / name, pin["package"])
            if pin["manifests"]:
                shutil.copytree(source / pin["manifests"], manifests / name, copy_function=shutil.copyfile)
                subprocess.run(["chmod", "-R", "u+w", str(manifests / name)], check=True)
    shutil.rmtree(work)  # kept until here, so that a build that was broken off goes on


class _Go:
    """The Go command with caches of its own, 10 GB after all builds: the user's stay as they are."""

    def __init__(self, work: Path) -> None:
        modules, proxy = _ask_go("GOMODCACHE"), _ask_go("GOPROXY")
        self._environment = {
            **os.environ,
            "GOMODCACHE": str(work / "modules"),
            "GOCACHE": str(work / "objects"),
            "GOPROXY": f"file://{modules}/cache/download,{proxy}",  # what the user has is not fetched again
            "GOFLAGS": "-modcacherw -buildvcs=false -trimpath",
            "GOWORK": "off",
            "CGO_ENABLED": "0",  # the images hold the program and no C library
        }

    def build(self, source: Path, out: Path, package: str, stamps: Sequence[str] = ()) -> None:
        """One program; the go.sum beside its go.mod vouches for what it is made of."""
        began = time.monotonic()
        flags = " ".join(["-s -w", *(f"-X {stamp}" for stamp in stamps)])
        self._run("build", "-mod=readonly", f"-ldflags={flags}", "-o", str(out), package, cwd=source)
        print(f"built {out.name} in {time.monotonic() - began:.0f} s", flush=True)

    def download(self, pin: dict[str, str]) -> Path:
        """The folder of a module, whose hash must be the pinned one.

        A module with `replace` lines can be built in its own folder only: `go install` refuses it.
        """
        at = f"{pin['module']}@{pin['version']}"
        answer: dict[str, Any] = json.loads(self._run("mod", "download", "-json", at, cwd=Path("/")))
        if answer["Sum"] != pin["sum"]:
            raise BedError(f"{at}: hash {answer['Sum']}, pinned is {pin['sum']}; see {settings.TOOLS}/operators.json")
        return Path(answer["Dir"])

    def _run(self, *arguments: str, cwd: Path) -> str:
        command = ["go", *arguments]
        result = subprocess.run(command, cwd=cwd, env=self._environment, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            said = [line for line in result.stderr.splitlines() if not line.startswith("go: downloading")]
            raise BedError("\n".join([" ".join(command), *said[-30:]]))
        return result.stdout


def _stamps() -> list[str]:
    """Without a version that they can parse, clients of the API server fail."""
    values = {
        "gitVersion": f"v{settings.KUBERNETES}",
        "gitMajor": settings.KUBERNETES.split(".")[0],
        "gitMinor": settings.KUBERNETES.split(".")[1],
        "gitTreeState": "clean",
        "gitCommit": "0" * 40,
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return [f"{package}.{name}={value}" for package in packages for name, value in values.items()]


def _root() -> Path:
    recipe = json.dumps([settings.DEBIAN, images.PACKAGES, images.UNNEEDED])
    root = settings.cache() / f"debian-{_digest([recipe.encode()])}"
    if not root.is_dir():
        began = time.monotonic()
        with _whole(root) as partial:
            images.make_root(partial, _mirror())
        print(f"made {root.name} in {time.monotonic() - began:.0f} s", flush=True)
    return root


def _mirror() -> str:
    """Where this machine's apt gets Debian from."""
    command = ["apt-get", "indextargets", "--format", "$(SITE) $(RELEASE)", "Created-By: Packages"]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.split("\n")
    sites = [line.split()[0] for line in lines if line.endswith(f" {settings.DEBIAN}")]
    return sites[0] if sites else "http://deb.debian.org/debian"


def _ask_go(name: str) -> str:
    return subprocess.run(["go", "env", name], capture_output=True, text=True, check=True).stdout.strip()


def _tools_hash() -> str:
    files = sorted(path for path in settings.TOOLS.rglob("*") if path.is_file())
    return _digest([str(path.relative_to(settings.TOOLS)).encode() + b"\0" + path.read_bytes() for path in files])


def _images_hash() -> str:
    sources = [(settings.HERE / name).read_bytes() for name in ("images.py", "archive.py")]
    names = [image.reference.encode() for image in images.own(Path(), Path())]
    return _digest([_tools_hash().encode(), *sources, *names])


def _digest(parts: Sequence[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def _whole(folder: Path) -> Iterator[Path]:
    """A folder that gets its name when it is complete."""
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    partial.rename(folder)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
