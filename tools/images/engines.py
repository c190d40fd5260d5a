"""The program that builds: docker, podman or buildah, whichever works here."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shipway.errors import InvalidSpec

PROBES = {"docker": ["docker", "version"], "podman": ["podman", "info"], "buildah": ["buildah", "info"]}


@dataclass(frozen=True)
class Engine:
    """One of the three, by name."""

    name: str

    def run(self, *arguments: str | Path, capture: bool = False) -> str:
        """Runs the program; its own words go to the terminal unless they are captured.

        Raises:
            subprocess.CalledProcessError: it failed.
        """
        # buildah's default isolation wants cgroups and namespaces that a build machine's container may not have.
        environment = {"BUILDAH_ISOLATION": "chroot", **os.environ}
        done = subprocess.run(
            [self.name, *map(str, arguments)],
            check=True,
            text=True,
            env=environment,
            stdout=subprocess.PIPE if capture else None,
        )
        return done.stdout.strip() if capture else ""

    def build(
        self, dockerfile: Path, tag: str, context: Path, epoch: str, arguments: dict[str, str], *, cached: bool = True
    ) -> None:
        """Builds an image; what pip needs to reach its index is mounted as build secrets."""
        options: list[str | Path] = [
            word for key, value in arguments.items() for word in ("--build-arg", f"{key}={value}")
        ]
        if self.name == "docker":
            # BuildKit takes the instant from this argument; without provenance the digest is the image's alone.
            options += ["--build-arg", f"SOURCE_DATE_EPOCH={epoch}", "--provenance=false"]
        else:
            options += ["--layers", "--timestamp", epoch]
        if not cached:
            options.append("--no-cache")
        with secrets() as mounted:
            for name, path in mounted.items():
                options += ["--secret", f"id={name},src={path}"]
            words = ["build" if self.name != "buildah" else "bud", *options, "-t", tag, "-f", dockerfile, context]
            try:
                self.run(*words)
            except subprocess.CalledProcessError:
                if self.name != "buildah" or not cached:
                    raise
                # Under load buildah 1.28 now and then fails to start a command ("sealing memfd copy: Device or resource
                # busy"). Finished steps are cached, so what failed for a reason of its own fails again soon.
                self.run(*words)

    def read(self, tag: str, path: str) -> bytes:
        """A file of the image."""
        if self.name == "buildah":
            container = self.run("from", "--pull-never", tag, capture=True)
            try:
                return (Path(self.run("mount", container, capture=True)) / path.lstrip("/")).read_bytes()
            finally:
                self.run("rm", container, capture=True)
        container = self.run("create", tag, capture=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                self.run("cp", f"{container}:{path}", f"{folder}/file", capture=True)
                return Path(folder, "file").read_bytes()
        finally:
            self.run("rm", container, capture=True)

    def size(self, tag: str) -> str:
        """As the program says it, `506 MB`: the layers as they lie on disk."""
        return self.run("images", "--format", "{{.Size}}", tag, capture=True).splitlines()[0]

    def save(self, tag: str, path: Path) -> None:
        """Writes a docker-archive, which `ctr images import` and `docker load` take."""
        if self.name == "buildah":
            self.run("push", "--quiet", tag, f"docker-archive:{path}:{tag}")
        else:
            self.run("save", *(["--format", "docker-archive"] if self.name == "podman" else []), "-o", path, tag)

    def push(self, tag: str, destination: str) -> str:
        """Pushes to `registry/name:tag` or `oci:FOLDER:tag`; the digest that the image has there."""
        if self.name == "docker":
            self.run("tag", tag, destination)
            self.run("push", destination)
            listed = self.run("image", "inspect", "--format", '{{join .RepoDigests "\\n"}}', destination, capture=True)
            ours = [line for line in listed.splitlines() if line.startswith(destination.rpartition(":")[0] + "@")]
            return ours[0].rpartition("@")[2]
        target = destination if destination.startswith("oci:") else f"docker://{destination}"
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "digest"
            self.run("push", "--quiet", "--digestfile", file, tag, target)
            return file.read_text(encoding="utf-8").strip()


def engine(name: str | None = None) -> Engine:
    """The engine asked for, or the first that works.

    Raises:
        InvalidSpec: unknown name, or none works here.
    """
    wanted: Sequence[str] = (name,) if name else tuple(PROBES)
    for one in wanted:
        if one not in PROBES:
            raise InvalidSpec(f"engine: {one!r}; expected one of {', '.join(PROBES)}")
        # docker's client may be there without a daemon behind it.
        if shutil.which(one) and subprocess.run(PROBES[one], capture_output=True, check=False).returncode == 0:
            return Engine(one)
    raise InvalidSpec(
        f"none of {', '.join(wanted)} works here; install one (apt-get install buildah) or start its daemon"
    )


@contextmanager
def secrets() -> Iterator[dict[str, Path]]:
    """This machine's pip settings and certificates as files, for the time of one build."""
    from tools.images.machine import authorities, pip_conf

    with tempfile.TemporaryDirectory(prefix="shipway-build-") as folder:
        conf, bundle = Path(folder, "pip.conf"), Path(folder, "ca.crt")
        bundle_here = authorities()
        bundle.write_bytes(bundle_here.read_bytes() if bundle_here else b"")
        conf.write_text(pip_conf(with_authorities=bundle_here is not None), encoding="utf-8")
        yield {"pip.conf": conf, "ca.crt": bundle}
