"""A version's document, read so that whatever was edited in it is found before anything is run."""

from __future__ import annotations

from shipway.artifacts import ModelManifest
from shipway.canonical import canonical_json, sha256_hex
from shipway.errors import CorruptArtifact
from shipway.registry.record import ModelVersion, Move
from shipway.storage import Store


def version_key(name: str, number: int) -> str:
    return f"models/{name}/versions/{number}.json"


def content_key(model: ModelManifest) -> str:
    """Where the registry keeps a model's files: by its identity, and within that by what is made of it and served.

    Two equal trainings may write variants of other bytes: neither overwrites what the other's version names.
    """
    variants = sha256_hex(canonical_json([model.serving, *sorted(variant.digest for variant in model.variants)]))
    return f"models/{model.name}/content/{model.digest}/{variants}"


def content_uri(store: Store, model: ModelManifest) -> str:
    """The same as a URI."""
    return f"{store.uri}/{content_key(model)}"


def read_version(store: Store, name: str, number: int) -> ModelVersion:
    """The document of a version.

    Raises:
        CorruptArtifact: it is not what its own key says, its parts are not of one model, or it was edited.
    """
    key = version_key(name, number)
    version = ModelVersion.from_json(store.get(key), where=key)
    digest, variant = version.model.digest, version.model.served.digest
    for field, given, expected in (
        ("name", version.name, name),
        ("model.name", version.model.name, name),
        ("version", version.version, number),
        ("digest", version.digest, digest),
        ("model.uri", version.model.uri, content_uri(store, version.model)),
        ("evaluation.model_digest", version.evaluation.model_digest if version.evaluation else digest, digest),
        ("evaluation.variant_digest", version.evaluation.variant_digest if version.evaluation else variant, variant),
        ("decision.challenger_digest", version.decision.challenger_digest if version.decision else digest, digest),
        ("decision.challenger_variant", version.decision.challenger_variant if version.decision else variant, variant),
    ):
        if given != expected:
            raise CorruptArtifact(
                f"{key}: {field} is {given!r}, expected {expected!r}: the version was edited; train and register again"
            )
    return version


def check_pinned(version: ModelVersion, move: Move) -> None:
    """Checks a version that was found by an alias.

    Raises:
        CorruptArtifact: it is not the document that the alias was set to.
    """
    if move.version == version.version and move.seal_of_version != version.seal:
        raise CorruptArtifact(
            f"{version_key(version.name, version.version)}: it is not the document that {move.alias} of {version.name} "
            f"was set to; look at it, and set the alias again: shipway models promote {version.name} {version.version}"
        )
