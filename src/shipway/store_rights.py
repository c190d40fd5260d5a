"""What the keys of a replica or of a predictor need to reach in the store, as policies of the stores that we know.

Replicas run people's model code. Those with the keys of the steps could move a registry's aliases and read every model;
with keys of their own they cannot. One policy serves all jobs: it does not keep one job's files from another's.
"""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import urlsplit

from shipway.errors import InvalidSpec

Role = Literal["replica", "predictor"]
# Folders of the store (docs/design.md) -> whether they are written too.
FOLDERS: dict[Role, dict[str, bool]] = {
    "replica": {"code": False, "datasets": False, "jobs": True, "sweeps": True},
    "predictor": {"code": False, "encoders": False, "jobs": False, "models": False},
}
WRITES = ("s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def policy(store_uri: str, role: Role) -> dict[str, Any]:
    """An IAM policy, for AWS and MinIO.

    The whole bucket may be listed: S3 answers 403 in place of 404 for a missing object to whoever may not.

    Args:
        store_uri: `s3://bucket/prefix`.

    Raises:
        InvalidSpec: another kind of store.
    """
    bucket, prefix = _place(store_uri)
    objects = {name: f"arn:aws:s3:::{bucket}/{prefix}{name}/*" for name in FOLDERS[role]}
    written = [objects[name] for name, is_written in FOLDERS[role].items() if is_written]
    statements = [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": [f"arn:aws:s3:::{bucket}"]},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": list(objects.values())},
    ]
    if written:
        statements.append({"Effect": "Allow", "Action": list(WRITES), "Resource": written})
    return {"Version": "2012-10-17", "Statement": statements}


def seaweed_actions(store_uri: str, role: Role) -> list[str]:
    """The same as actions of a SeaweedFS identity (`s3.configure -actions`)."""
    bucket, prefix = _place(store_uri)
    actions = [f"List:{bucket}"]
    for name, is_written in FOLDERS[role].items():
        actions += [f"{verb}:{bucket}/{prefix}{name}/*" for verb in ("Read", *(["Write"] if is_written else []))]
    return actions


def _place(store_uri: str) -> tuple[str, str]:
    parts = urlsplit(store_uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise InvalidSpec(
            f"{store_uri!r} has no keys to narrow", field="store", given=store_uri, allowed="s3://BUCKET/PREFIX"
        )
    prefix = parts.path.strip("/")
    return parts.netloc, f"{prefix}/" if prefix else ""
