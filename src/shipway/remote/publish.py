"""Publishing: compile, pin the images, upload as a version of its own, and never change a published one."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shipway import images
from shipway.errors import InvalidSpec, LostAnswer, VersionConflict
from shipway.remote.api import Api
from shipway.remote.content import (
    BESIDE,
    CURRENT,
    TAG,
    content_hash,
    current_of,
    hash_of_version,
    images_of,
    is_beside,
    version_name,
)
from shipway.remote.once import create_once
from shipway.store_secret import DEFAULT_SECRET


@dataclass(frozen=True)
class Published:
    """A pipeline version in Kubeflow.

    Attributes:
        is_new: False where the very same content was there already.
        notes: What a person should know beside it.
    """

    pipeline: str
    version: str
    pipeline_id: str
    version_id: str
    content: str
    is_new: bool
    images: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def publish(
    api: Api,
    pipeline: str,
    *,
    version: str | None = None,
    registry: str | None = None,
    digests: Mapping[str, str] | None = None,
    pin: bool = True,
    current: bool = True,
    secret: str = DEFAULT_SECRET,
) -> Published:
    """Publishes a pipeline; the same content again does nothing.

    Args:
        api: Kubeflow.
        pipeline: As for `shipway.run`: a pipeline's name, `file.py:function`, `package.module:function`.
        version: Its version; that of its plan where none is given, the package's for a shipped pipeline.
        registry: Registry and path in place of the package's own.
        digests: image -> `sha256:...`; those that are missing are asked of the registry.
        pin: Pin every image by digest; False leaves tags, which may come to point at something else.
        secret: Name of the Secret that leads to storage, where the run's pods are.
        current: Whether it becomes the version to use; False publishes it beside the current one.

    Raises:
        VersionConflict: that version is published with other content.
        InvalidSpec: a wrong name, registry or digest; a version that is missing.
    """
    compiled = _compile(pipeline, version, registry, digests or {}, pin, secret)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{compiled.version}.yaml"
        file.write_text(compiled.text, encoding="utf-8")
        owner = _ensure_pipeline(api, compiled)
        version_there = _find_version(api, owner.pipeline_id, compiled.version)
        is_new = version_there is None
        if version_there is None:
            version_there = _upload(api, owner, file, compiled, {} if current else {TAG: BESIDE})
    _refuse_other_content(version_there, compiled)
    notes = list(compiled.notes) + (_make_current(api, version_there) if current else _leave_beside(api, version_there))
    return Published(
        pipeline=compiled.name,
        version=compiled.version,
        pipeline_id=owner.pipeline_id,
        version_id=version_there.pipeline_version_id,
        content=compiled.content,
        is_new=is_new,
        images=compiled.images,
        notes=notes,
    )


@dataclass(frozen=True)
class _Compiled:
    name: str
    version: str
    description: str
    text: str
    content: str
    images: list[str]
    notes: list[str]

    @property
    def version_description(self) -> str:
        return f"Published by Shipway {images.VERSION}; content sha256:{self.content}"


def _compile(
    pipeline: str, version: str | None, registry: str | None, digests: Mapping[str, str], pin: bool, secret: str
) -> _Compiled:
    from shipway.compiling import compile_pipeline
    from shipway.planning import find

    pipeline_found = find(pipeline)  # a name with a typo is told before anything else
    if version is None:
        if pipeline_found.plan is None or not pipeline_found.plan.version:
            raise InvalidSpec(f"{pipeline} is your own pipeline: say its version, --version 1.0.0", field="publish")
        version = pipeline_found.plan.version

    def compiled(pins: Mapping[str, str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "pipeline.yaml"
            compile_pipeline(pipeline, out, registry=registry, digests=pins, secret=secret)
            return out.read_text(encoding="utf-8")

    text = compiled(digests)
    notes: list[str] = []
    if pin:
        more = _missing_digests(images_of(list(yaml.safe_load_all(text))), registry, digests, notes)
        text = _pinned(compiled({**digests, **more}) if more else text)
    elif any("@sha256:" not in image for image in images_of(list(yaml.safe_load_all(text)))):
        notes.append("images go by their tags (--no-pin): what a tag points at may change under a published version")
    documents = list(yaml.safe_load_all(text))
    info = documents[0]["pipelineInfo"]
    return _Compiled(
        name=info["name"],
        version=version_name(info["name"], version),
        description=str(info.get("description", "")),
        text=text,
        content=content_hash(documents),
        images=sorted(images_of(documents)),
        notes=notes,
    )


def _missing_digests(
    used: set[str], registry: str | None, digests: Mapping[str, str], notes: list[str]
) -> dict[str, str]:
    """Digests of our images that nobody gave: those of the steps, and of the replicas that steps start at run time.

    A registry that lacks an image which only a replica would run (no Horovod there) is no reason not to publish: it
    goes by its tag, and `notes` says so.
    """
    from shipway.compiling import rewritten
    from shipway.remote.registry import digest_of

    references = rewritten(registry, digests)
    if not used & set(references.values()):
        return {}  # a pipeline of one's own, on images of one's own
    asked = {}
    for name, image in images.ALL.items():
        if name in digests or "@" in references[image]:
            continue
        try:
            asked[name] = digest_of(references[image])
        except InvalidSpec:
            if references[image] in used:
                raise
            notes.append(f"{references[image]}, which only replicas run, goes by its tag: its registry gives no digest")
    return asked


def _pinned(text: str) -> str:
    """Every tag replaced by the digest that its registry gives for it now."""
    from shipway.remote.registry import digest_of

    for image in sorted(images_of(list(yaml.safe_load_all(text)))):
        if "@sha256:" not in image:
            repository = image.rpartition(":")[0] if ":" in image.rpartition("/")[2] else image
            text = text.replace(f"image: {image}\n", f"image: {repository}@{digest_of(image)}\n")
    return text


def _ensure_pipeline(api: Api, compiled: _Compiled) -> Any:
    owner = api.find_pipeline(compiled.name)
    if owner is not None:
        return owner
    try:
        return create_once(
            f"pipeline {compiled.name}",
            lambda: api.create_pipeline(compiled.name, compiled.description),
            lambda: api.find_pipeline(compiled.name),
            api.patience,
        )
    except VersionConflict:  # somebody else made it at this very moment
        owner = api.find_pipeline(compiled.name)
        if owner is None:
            raise
        return owner


def _find_version(api: Api, pipeline_id: str, name: str) -> Any | None:
    listed = next((v for v in api.versions(pipeline_id) if name in (v.name, v.display_name)), None)
    return None if listed is None else api.version(pipeline_id, listed.pipeline_version_id)


def _upload(api: Api, owner: Any, file: Path, compiled: _Compiled, tags: Mapping[str, str]) -> Any:
    def find() -> Any | None:
        return _find_version(api, owner.pipeline_id, compiled.version)

    try:
        return create_once(
            f"pipeline version {compiled.version}",
            lambda: api.upload_version(file, owner.pipeline_id, compiled.version, compiled.version_description, tags),
            find,
            api.patience,
        )
    except (VersionConflict, LostAnswer):  # published from elsewhere at this very moment; its content decides
        uploaded = find()
        if uploaded is None:
            raise
        return uploaded


def _refuse_other_content(published: Any, compiled: _Compiled) -> None:
    there = hash_of_version(published)
    if there != compiled.content:
        raise VersionConflict(
            f"version {compiled.version} is published with other content (sha256 {there[:12]}, "
            f"yours {compiled.content[:12]}); published versions never change: raise the version "
            "(--version), or compile from the same sources, registry and digests",
            field="publish",
        )


def _make_current(api: Api, version: Any) -> list[str]:
    """Nothing to do for a version that was uploaded as such; of one that stood beside its tag is changed."""
    if is_beside(version):
        api.tag_version(version, {**version.tags, TAG: CURRENT})
    used = current_of(api.versions(version.pipeline_id) or [version])
    if used.pipeline_version_id != version.pipeline_version_id:
        return [f"current stays {used.name or used.display_name}, which is newer"]
    return []


def _leave_beside(api: Api, version: Any) -> list[str]:
    """What a person who wanted it beside the current one should know."""
    name, notes = version.name or version.display_name, list[str]()
    if not is_beside(version):
        used = current_of(api.versions(version.pipeline_id) or [version])
        if used.pipeline_version_id == version.pipeline_version_id:
            notes.append(
                f"{name} is what submit takes without a version: it was published as the current one before, or this "
                f"Kubeflow keeps no tags (before 2.17); name another as name@version"
            )
    floating = [
        str(job.display_name)
        for job in api.recurring()
        if job.pipeline_version_reference
        and job.pipeline_version_reference.pipeline_id == version.pipeline_id
        and not job.pipeline_version_reference.pipeline_version_id
    ]
    if floating:
        notes.append(
            f"Kubeflow's schedules take the newest version, this one too, unless one is pinned: {', '.join(floating)} "
            f"(shipway schedule change NAME --version ...)"
        )
    return notes
