"""An S3 server as it is reached, and the record of the one that this home has started."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from shipway.errors import StorageError

REGION = "us-east-1"


@dataclass(frozen=True)
class S3Config:
    """How to reach S3; `endpoint` None is Amazon's, `access_key` None leaves the identity to the environment."""

    endpoint: str | None
    region: str
    access_key: str | None
    secret_key: str | None
    token: str | None = None


@dataclass(frozen=True)
class ServerInfo:
    """A server as recorded; `start_ticks` beside the pid tells it from a stranger with a reused pid."""

    pid: int
    start_ticks: int
    endpoint: str
    region: str
    access_key: str
    secret_key: str
    ports: dict[str, int]
    folder: str

    @property
    def config(self) -> S3Config:
        """How to reach it."""
        return S3Config(self.endpoint, self.region, self.access_key, self.secret_key)

    @property
    def host(self) -> str:
        """The address that S3 listens on."""
        return urlsplit(self.endpoint).hostname or "127.0.0.1"


def read_info(home: Path | str) -> ServerInfo | None:
    """What `server.json` records, None without one."""
    path = folder_of(home) / "server.json"
    try:
        return ServerInfo(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise StorageError(f"{path}: damaged ({error}); delete it and run `shipway store start`") from error


def folder_of(home: Path | str) -> Path:
    """Where a home keeps its server's state."""
    return Path(home).absolute() / "store"
