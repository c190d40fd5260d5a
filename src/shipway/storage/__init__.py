"""Object storage: S3 or a local folder behind one `Store`; the publish protocol; the embedded server."""

from __future__ import annotations

from shipway.storage.documents import read_artifact, write_artifact
from shipway.storage.store import ObjectInfo, Store, open_folder, open_uri

__all__ = ["ObjectInfo", "Store", "open_folder", "open_uri", "read_artifact", "write_artifact"]
