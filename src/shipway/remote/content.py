"""What a compiled pipeline holds, independent of how it was written down."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from shipway.canonical import canonical_json, sha256_hex

HASH = re.compile(r"content sha256:([0-9a-f]{64})")
TAG, BESIDE, CURRENT = "shipway-publish", "beside", "current"  # a version's tag and what it may say; none: current


def spec_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The pipeline spec, out of what the server gives: with a platform spec it stands one level deeper."""
    return dict(document.get("pipeline_spec") or document)


def platform_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """The platform spec beside it: what kfp.kubernetes set on tasks; empty for none."""
    return dict(document.get("platform_spec") or {})


def content_hash(documents: Sequence[Mapping[str, Any]]) -> str:
    """sha256 over the pipeline spec and the platform spec: images, parameters, tasks, limits."""
    return sha256_hex(canonical_json([dict(document) for document in documents]))


def hash_of_version(version: Any) -> str:
    """The hash of a published version: as its description says, else over what the server holds."""
    said = HASH.search(version.description or "")
    if said:
        return said.group(1)
    held = version.pipeline_spec or {}
    if "pipeline_spec" in held:
        return content_hash([held["pipeline_spec"], *([held["platform_spec"]] if held.get("platform_spec") else [])])
    return content_hash([held])


def version_name(pipeline: str, version: str) -> str:
    """`train-and-deploy-v1-4-0`: safe as a Kubernetes name."""
    return f"{pipeline}-v{re.sub(r'[^a-z0-9]+', '-', version.lower()).strip('-')}"


def is_beside(version: Any) -> bool:
    """Whether it was published without becoming the one to use."""
    return dict(version.tags or {}).get(TAG) == BESIDE


def current_of(versions: Sequence[Any]) -> Any:
    """The version to use where none is named: the newest that is not beside, of `versions`, the newest first.

    Nothing points at it, so that of two publishers neither can move a pointer back: the later version is the current
    one, whoever looks. Where all are beside, there is nothing to stand beside, and the newest is used.
    """
    return next((version for version in versions if not is_beside(version)), versions[0])


def deadline_of(document: Mapping[str, Any]) -> int:
    """Seconds that the pipeline gives its runs; 0 for no limit. It stands in the platform spec."""
    platforms = (document.get("platform_spec") or {}).get("platforms") or {}
    config = (platforms.get("kubernetes") or {}).get("pipelineConfig") or {}
    return int(config.get("activeDeadlineSeconds") or 0)


def images_of(node: Any) -> set[str]:
    """Every image that the pipeline's tasks run."""
    if isinstance(node, Mapping):
        images = {str(value) for key, value in node.items() if key == "image" and isinstance(value, str)}
        return images.union(*(images_of(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(images_of(item) for item in node)) if node else set()
    return set()
