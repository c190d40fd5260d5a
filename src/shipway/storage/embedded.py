"""The embedded object store: SeaweedFS as a detached service of one home, for laptops and tests.

One server per home, found again by `store/server.json` (0600): pid and start time, ports, random credentials. It
listens on 127.0.0.1 (S3 on another address too, where told), survives the process that started it, and ends only by
`stop`. S3 wants its keys; every other port wants the certificate whose key is in the home's folder (`weed.py`).
"""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from shipway import locks, private
from shipway.errors import StorageError, StorageUnavailable
from shipway.storage import processes, weed
from shipway.storage.base import RESERVED
from shipway.storage.buckets import ensure_bucket
from shipway.storage.s3 import S3Backend
from shipway.storage.server import REGION, ServerInfo, folder_of, read_info

BUCKET = "shipway"
START_S = 60.0  # 3-4 s on a quiet machine
ATTEMPTS = 5  # a port may be taken between our choosing and its binding
STOP_GRACE_S = 0.0  # TERM takes it 15-27 s and saves nothing: what was answered the kernel holds already


@dataclass(frozen=True)
class ServerStatus:
    """`running`: the process is there; `healthy`: it answers."""

    running: bool
    healthy: bool
    info: ServerInfo | None


def start(home: Path | str, bucket: str = BUCKET, host: str = weed.HOST) -> ServerInfo:
    """The running server of this home; started when there is none.

    Args:
        home: Whose server.
        bucket: Made when it is not there.
        host: The address of this machine where a new server offers S3; one that runs keeps its own.

    Raises:
        StorageUnavailable: it does not come up; names its log.
    """
    folder = folder_of(home)
    with locks.alone(folder / "lock"):
        known = read_info(home)
        if known is not None and _is_running(known):
            closed = (folder / weed.CERTIFICATE).is_file()  # an older Shipway's server is open to every local process
            if closed and _wait_healthy(known, START_S if _age_s(known) < START_S else 5.0):
                _close_volumes(folder)
                return known
            _kill(known, grace_s=0.0)
        _kill_lost(folder, grace_s=0.0)
        started = _launch(folder, known, bucket, host)
        _close_volumes(folder)
        return started


def stop(home: Path | str, grace_s: float = STOP_GRACE_S) -> bool:
    """Ends this home's server; True when there was one. The data stay."""
    folder = folder_of(home)
    if not folder.is_dir():
        return False
    with locks.alone(folder / "lock"):
        known = read_info(home)
        stopped = known is not None and _kill(known, grace_s)
        stopped = _kill_lost(folder, grace_s) or stopped
        if known is not None:
            weed.remove_sockets(known.ports)
        return stopped


def status(home: Path | str) -> ServerStatus:
    """Whether this home's server runs and answers."""
    known = read_info(home)
    running = known is not None and _is_running(known)
    return ServerStatus(running, running and known is not None and _is_healthy(known), known)


def environment(info: ServerInfo) -> dict[str, str]:
    """The variables with which a process finds this server, past any proxy."""
    without = [part for part in (os.environ.get("NO_PROXY") or os.environ.get("no_proxy") or "").split(",") if part]
    if info.host not in without:
        without.append(info.host)
    return {
        "AWS_ENDPOINT_URL": info.endpoint,
        "AWS_ACCESS_KEY_ID": info.access_key,
        "AWS_SECRET_ACCESS_KEY": info.secret_key,
        "AWS_REGION": info.region,
        "NO_PROXY": ",".join(without),
        "no_proxy": ",".join(without),
    }


def _launch(folder: Path, known: ServerInfo | None, bucket: str, host: str) -> ServerInfo:
    free = shutil.disk_usage(folder).free
    if free < weed.MIN_FREE:
        raise StorageError(
            f"{folder}: {free >> 20} MiB free, the object store keeps {weed.MIN_FREE >> 20}; free some disk"
        )
    access, secret = (known.access_key, known.secret_key) if known else (secrets.token_hex(10), secrets.token_hex(20))
    weed.write_identities(folder, access, secret)
    ports = known.ports if known and weed.all_free(known.ports) else weed.free_ports()
    for _ in range(ATTEMPTS):
        process = weed.spawn(folder, ports, host)
        ticks = processes.start_ticks(process.pid) or 0
        endpoint = f"http://{host}:{ports['s3']}"
        info = ServerInfo(process.pid, ticks, endpoint, REGION, access, secret, ports, str(folder))
        private.write_text(folder / "server.json", json.dumps(asdict(info), indent=1))
        if _wait_healthy(info, START_S) and _make_ready(info, bucket):
            return info
        _kill(info, grace_s=0.0)
        weed.remove_sockets(ports)
        if "address already in use" not in _log_tail(folder).lower():
            break
        ports = weed.free_ports()
    (folder / "server.json").unlink(missing_ok=True)
    last = [line for line in _log_tail(folder).splitlines() if line.strip()][-1:] or ["nothing in the log"]
    raise StorageUnavailable(f"embedded object store did not start: {last[0][-200:]}; see {folder / 'weed.log'}")


def _close_volumes(folder: Path) -> None:
    """Weed opens the files that describe its volumes to all, whatever the umask."""
    for path in (folder / "data").glob("*.vif"):
        private.close(path)


def _make_ready(info: ServerInfo, bucket: str) -> bool:
    """The bucket, and one write: only then has the first volume been made."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            ensure_bucket(bucket, info.config)
            S3Backend(bucket, info.config).put(f"{RESERVED}health", b"ready")
        except StorageError:
            if time.monotonic() > deadline or not _is_running(info):
                return False
            time.sleep(0.1)
        else:
            return True


def _wait_healthy(info: ServerInfo, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while _is_running(info):
        if _is_healthy(info):
            return True
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return False


def _is_healthy(info: ServerInfo) -> bool:
    connection = http.client.HTTPConnection(info.host, info.ports["s3"], timeout=2)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_running(info: ServerInfo) -> bool:
    return processes.is_same(info.pid, info.start_ticks)


def _age_s(info: ServerInfo) -> float:
    return processes.age_s(info.start_ticks)


def _kill(info: ServerInfo, grace_s: float) -> bool:
    return processes.end(info.pid, info.start_ticks, grace_s)


def _kill_lost(folder: Path, grace_s: float) -> bool:
    """Ends a server whose starter died before it wrote the record, or whose record is gone."""
    lost = processes.kill_owned(weed.marker(folder), grace_s)
    for command in lost:
        weed.remove_sockets(weed.ports_of(command))
    return bool(lost)


def _log_tail(folder: Path) -> str:
    try:
        return (folder / "weed.log").read_text(errors="replace")[-4000:]
    except FileNotFoundError:
        return ""
