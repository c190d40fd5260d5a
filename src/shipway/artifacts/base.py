"""What all artifacts share: a typed, versioned JSON document of a few KB that names its bulk by URI and hash."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from shipway import redaction
from shipway.canonical import canonical_json, sha256_hex
from shipway.errors import CorruptArtifact

SEAL = "seal"
_AGAIN = "run again with --fresh what wrote it (a registered version: train and register it again)"


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
            f"URI {redaction.place(uri)!r} must be s3://bucket/key or file:///path, without query, fragment or control "
            "characters"
        )
    rest = match.group(2)
    if "@" in rest.split("/")[0] or ".." in rest.split("/"):
        raise ValueError(f"URI {redaction.place(uri)!r} holds a credential or escapes its root")
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
    A sealed kind is written with a hash over all its other fields, and read only where that hash agrees: what one step
    wrote is what the next one acts on. A seal is no signature: who writes documents can seal them too, and so each step
    pins the hash of what it judged (`ModelManifest.digest`, `DecisionRecord.evaluation_seal`).
    """

    KIND: ClassVar[str]
    VERSION: ClassVar[str] = "1.0"
    SEALED: ClassVar[bool] = False

    kind: str = ""
    schema_version: str = ""

    def model_post_init(self, _context: object) -> None:
        self.kind = self.kind or self.KIND
        self.schema_version = self.schema_version or self.VERSION

    def to_json(self) -> str:
        """Indented JSON, stable over equal documents."""
        document = self.model_dump(mode="json")
        if self.SEALED:
            document[SEAL] = seal_of(document)
        return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)

    @property
    def seal(self) -> str:
        """Hash over every field, 64 hexadecimal digits."""
        return seal_of(self.model_dump(mode="json"))

    @classmethod
    def from_json(cls, text: str | bytes, where: str = "document") -> Self:
        """The document, checked.

        Args:
            text: JSON as written by `to_json`.
            where: Path or URI it came from, for messages.

        Raises:
            CorruptArtifact: not JSON, another kind, a newer major version, a field that breaks the schema, or one that
                was edited since the document was sealed.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise CorruptArtifact(f"{where}: not a JSON document ({error}); rerun the step that wrote it") from error
        if not isinstance(raw, dict) or raw.get("kind") != cls.KIND:
            given = raw.get("kind") if isinstance(raw, dict) else type(raw).__name__
            raise CorruptArtifact(f"{where}: expected a {cls.KIND}, got {given!r}")
        version = str(raw.get("schema_version", ""))
        if not re.fullmatch(r"\d{1,9}\.\d{1,9}", version):
            raise CorruptArtifact(f"{where}: schema_version {version[:40]!r} is not 'major.minor'")
        if int(version.split(".")[0]) > int(cls.VERSION.split(".")[0]):
            raise CorruptArtifact(
                f"{where}: {cls.KIND} of schema version {version}, this Shipway reads up to {cls.VERSION}; "
                "upgrade shipway where this step runs"
            )
        if cls.SEALED:
            check_seal(raw, cls.KIND, where)
        try:
            return cls.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"])
            why = f"{where}: {cls.KIND}.{field}: {first['msg']}"
            if first["type"] == "missing":
                why += f": an earlier Shipway wrote it, or it was edited; {_AGAIN}"
            raise CorruptArtifact(why) from error

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


def seal_of(document: dict[str, Any]) -> str:
    """Hash over a document's fields but its seal, 64 hexadecimal digits."""
    return sha256_hex(canonical_json({key: value for key, value in document.items() if key != SEAL}))


def check_seal(raw: dict[str, Any], kind: str, where: str) -> None:
    """Takes the seal out of the document, which it must fit.

    Raises:
        CorruptArtifact: there is none, or it does not fit.
    """
    stated = raw.pop(SEAL, None)
    if stated is None:
        raise CorruptArtifact(
            f"{where}: this {kind} has no seal: an earlier Shipway wrote it, or it was edited; {_AGAIN}"
        )
    try:
        given = seal_of(raw)
    except ValueError as error:  # a number that is none
        raise CorruptArtifact(f"{where}: {kind}: {error}; run again with --fresh what wrote it") from error
    if stated != given:
        raise CorruptArtifact(
            f"{where}: this {kind} was edited after it was written (its seal is {str(stated)[:12]}..., its fields give "
            f"{given[:12]}...); put back what stood there, or run again with --fresh what wrote it"
        )


class FileRef(Record):
    """One object of an artifact's bulk, below the artifact's `uri`."""

    path: RelativePath
    size_bytes: Annotated[int, Field(ge=0)]
    sha256: Sha256


class Shard(FileRef):
    """A file of records."""

    rows: Annotated[int, Field(ge=0)]
