"""Canonical JSON and the hashes taken over it: one document, one hash, whichever way it came."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def canonical_json(document: BaseModel | Mapping[str, Any] | list[Any]) -> str:
    """Sorted keys, no spaces, no NaN; floats by shortest repr. Hash validated models, never a raw dict:
    KFP turns every number of a dict parameter into a float."""
    plain = document.model_dump(mode="json") if isinstance(document, BaseModel) else document
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def sha256_hex(data: str | bytes) -> str:
    """The sha256 of text (UTF-8) or bytes, 64 hexadecimal digits."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()


def fingerprint(document: BaseModel | Mapping[str, Any] | list[Any], length: int = 16) -> str:
    """The first `length` hexadecimal digits of the document's canonical hash."""
    return sha256_hex(canonical_json(document))[:length]
