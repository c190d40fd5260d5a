"""Runs an image as a cluster would: uid 1000, no capabilities, processes of its own, only /tmp and HOME to write to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tools.images.engines import Engine

WRITABLE = ("/tmp", "/home/shipway", "/dev/shm")


@dataclass
class Container:
    """An image's root, mounted read-only, ready to run in.

    Attributes:
        root: Where it lies.
        config: The image's own: Env, Entrypoint, Cmd, WorkingDir, User.
    """

    root: Path
    config: dict[str, Any]
    bundle: Path
    names: list[str] = field(default_factory=list)

    def start(
        self,
        argv: Sequence[str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Starts a process as PID 1 of its own container, in the host's network; the image's command by default.

        The runc process stands for it: signals sent to it arrive at PID 1, its exit code is that of PID 1.
        """
        name = f"shipway-{uuid.uuid4().hex[:8]}"
        folder = self.bundle / name
        folder.mkdir()
        command = list(argv) if argv else [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]
        (folder / "config.json").write_text(json.dumps(self._spec(command, env or {}, mounts or {})), encoding="utf-8")
        self.names.append(name)
        return subprocess.Popen(
            [*_runc(self.bundle), "run", "--bundle", folder, name],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(
        self,
        argv: Sequence[str] | None = None,
        *,
        env: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        timeout_s: float = 300,
    ) -> tuple[int, str]:
        """Exit code, and what it wrote on both streams."""
        process = self.start(argv, env=env, mounts=mounts)
        try:
            text, _ = process.communicate(timeout=timeout_s)
        finally:
            if process.poll() is None:
                process.kill()
        return process.returncode, text

    def remove(self) -> None:
        """Ends what still runs."""
        for name in self.names:
            subprocess.run([*_runc(self.bundle), "delete", "--force", name], capture_output=True, check=False)

    def _spec(self, command: list[str], env: Mapping[str, str], mounts: Mapping[Path, str]) -> dict[str, Any]:
        uid, gid = (int(part) for part in self.config["User"].split(":"))
        tmpfs = [
            {
                "destination": path,
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "nodev", f"uid={uid}", f"gid={gid}"],
            }
            for path in WRITABLE
        ]
        binds = [
            {"destination": inside, "type": "bind", "source": str(outside), "options": ["bind", "ro"]}
            for outside, inside in mounts.items()
        ]
        # As the kubelet mounts them into every pod.
        files = [
            {"destination": path, "type": "bind", "source": path, "options": ["bind", "ro"]}
            for path in ("/etc/hosts", "/etc/resolv.conf")
        ]
        base = [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["newinstance", "ptmxmode=0666"],
            },
        ]
        return {
            "ociVersion": "1.0.2",
            "root": {"path": str(self.root), "readonly": True},
            "process": {
                "user": {"uid": uid, "gid": gid},
                "args": command,
                "env": [*(self.config.get("Env") or []), *(f"{key}={value}" for key, value in env.items())],
                "cwd": self.config.get("WorkingDir") or "/",
                "capabilities": {key: [] for key in ("bounding", "effective", "permitted")},
                "noNewPrivileges": True,
            },
            "hostname": "shipway",
            "mounts": [*base, *tmpfs, *files, *binds],
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]},
        }


def _runc(bundle: Path) -> list[str]:
    return ["runc", "--root", str(bundle / "state")]


def why_not() -> str | None:
    """What this machine lacks to run containers so; None: nothing."""
    if os.geteuid() != 0:
        return "not root"
    return next((f"no {program}" for program in ("buildah", "runc") if shutil.which(program) is None), None)


@contextmanager
def container(engine: Engine, tag: str, bundle: Path) -> Iterator[Container]:
    """The image, mounted for a while; what runs in it is ended at the end."""
    working = engine.run("from", "--pull-never", tag, capture=True)
    try:
        root = Path(engine.run("mount", working, capture=True))
        inspected = json.loads(engine.run("inspect", "--type", "image", tag, capture=True))
        made = Container(root, inspected["OCIv1"]["config"], bundle)
        try:
            yield made
        finally:
            made.remove()
    finally:
        engine.run("rm", working, capture=True)
