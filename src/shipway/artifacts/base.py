"""What all artifacts share: a typed, versioned JSON document of a few KB that names its bulk by URI and hash."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shipway.errors import CorruptArtifact, redacted


def _safe_relative(path: str) -> str:
    """A path that stays inside its root."""
    if not path or path.startswith("/") or "\\" in path or "\0" in path:
        raise ValueError(f"path {path!r} must be relative and use '/'")
    if posixpath.normpath(path) != path or path == "." or ".." in path.split("/"):
        raise ValueError(f"path {path!r} escapes its root or is not normalised")
    return path


def _safe_uri(uri: str) -> str:
    """A URI without endpoint, credential, query or `..`: each side resolves its own."""
    match = re.fullmatch(r"(s3|file)://([^?#\x00-\x1f\x7f]*)", uri)
    if not match:
        raise ValueError(
            f"URI {redacted(uri)!r} must be s3://bucket/key or file:///path, without query, fragment or control "
            "characters"
        )
    rest = match.group(2)
    if "@" in rest.split("/")[0] or ".." in rest.split("/"):
        raise ValueError(f"URI {redacted(uri)!r} holds a credential or escapes its root")
    return uri


RelativePath = Annotated[str, AfterValidator(_safe_relative)]
Uri = Annotated[str, AfterValidator(_safe_uri)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Record(BaseModel):
    """Base of nested parts; keeps unknown future fields, so that an old reader never drops what a newer one wrote."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())


class Artifact(Record):
    """Base of the documents that steps pass on.

    `schema_version` is `major.minor`: a newer minor is read (its fields are kept), a newer major is refused.
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[str] = "1.0"

    kind: str = ""
    schema_version: str = ""

    def model_post_init(self, _context: object) -> None:
        self.kind = self.kind or self.KIND
        self.schema_version = self.schema_version or self.VERSION

    def to_json(self) -> str:
        """Indented JSON, stable over equal documents."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "document") -> Self:
        """The document, checked.

        Args:
            text: JSON as written by `to_json`.
            where: Path or URI it came from, for messages.

        Raises:
            CorruptArtifact: not JSON, another kind, a newer major version, or a field that breaks the schema.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise CorruptArtifact(f"{where}: not a JSON document ({error}); rerun the step that wrote it") from error
        if not isinstance(raw, dict) or raw.get("kind") != cls.KIND:
            given = raw.get("kind") if isinstance(raw, dict) else type(raw).__name__
            raise CorruptArtifact(f"{where}: expected a {cls.KIND}, got {given!r}")
        version = str(raw.get("schema_version", ""))
        if not re.fullmatch(r"\d+\.\d+", version):
            raise CorruptArtifact(f"{where}: schema_version {version!r} is not 'major.minor'")
        if int(version.split(".")[0]) > int(cls.VERSION.split(".")[0]):
            raise CorruptArtifact(
                f"{where}: {cls.KIND} of schema version {version}, this Shipway reads up to {cls.VERSION}; "
                "upgrade shipway where this step runs"
            )
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            raise CorruptArtifact(f"{where}: {cls.KIND}.{field}: {first['msg']}") from error

    def write(self, path: str | Path) -> None:
        """Writes the document where KFP passes artifacts on."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Reads what `write` wrote."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{path}: the {cls.KIND} is gone; run again with --fresh") from error
        return cls.from_json(text, where=str(path))


class FileRef(Record):
    """One object of an artifact's bulk, below the artifact's `uri`."""

    path: RelativePath
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Shard(FileRef):
    """A file of records."""

    rows: Annotated[int, Field(ge=0)]
