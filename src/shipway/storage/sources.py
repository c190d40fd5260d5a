"""Where the user's data lie: a local file or folder, `s3://`, or an HTTP address; fingerprints and fetching."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from shipway import redaction, references
from shipway.canonical import fingerprint
from shipway.errors import InvalidData, NotFound, nearest
from shipway.storage import folders, http
from shipway.storage.store import ObjectInfo, open_folder, open_uri

Suffixes = tuple[str, ...]
FORMATS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
NAMED = (*FORMATS, ".tab", ".txt", ".json", ".pq")  # readable too, where a file is named itself: not swept up by folder
COMPRESSIONS = (".gz", ".zst", ".bz2", ".xz")
GIVE = "or name the format by overrides.dataset.format"
# What a folder holds beside its rows, when any other name is taken because the format is given.
BESIDE = (".crc", ".md5", ".sha1", ".sha256", ".md", ".html", ".pdf", ".log", ".py", ".ipynb", ".yaml", ".yml")
ENDINGS_OF = {
    "csv": (".csv", ".txt"),
    "tsv": (".tsv", ".tab"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "parquet": (".parquet", ".pq"),
}
WHOLE = 256 << 20  # bytes up to which a local file's whole content is hashed (0.2 s)
SAMPLES = 64  # blocks of a bigger one
BLOCK = 64 << 10


def fingerprint_source(uri: str, format: str = "auto", more: Suffixes = ()) -> str:
    """A cheap identity of the content: equal content gives an equal one, an edit in place another.

    - Local files: sha256 of the content up to 256 MiB; above that size, modification time (ns) and 64 sampled blocks,
      so that a touched big file counts as new and no edit goes unseen that leaves a later time behind.
    - `s3://`: ETags and sizes. - HTTP: ETag, or Last-Modified and length, or else a hash of the content.

    Args:
        uri: A path, `file://`, `s3://`, `http://` or `https://` URI of a file or a folder.
        format: `auto` takes files by their suffix; with another given, any name will do that does not say another
            format (`part-00000`, `part-00000-<uuid>.c000`).
        more: Endings of further names that are taken: of formats that an input brings, of the given one.

    Returns:
        16 hexadecimal digits.

    Raises:
        NotFound: nothing stands there.
        InvalidData: another scheme, no file of a supported format.
    """
    kind, where = kind_of(uri)
    if kind == "local":
        top = Path(where)
        return fingerprint([[_name(path, top), file_identity(path)] for path in _local_files(top, format, more)[0]])
    if kind == "s3":
        return fingerprint([[name, info.etag, info.size_bytes] for name, info in _objects(where, format, more)[0]])
    return fingerprint(["http", redaction.address(where), http.identity(where)])


def fetch_source(uri: str, folder: str | Path, format: str = "auto", more: Suffixes = ()) -> list[Path]:
    """The source's files on this machine, by name.

    Args:
        uri, format, more: As for `fingerprint_source`.
        folder: Where downloads go; local files are read where they are.

    Raises:
        NotFound: nothing stands there.
        InvalidData: no file of a supported format.
        StorageUnavailable: the server does not answer, or breaks off again and again.
    """
    kind, where = kind_of(uri)
    if kind == "local":
        return _local_files(Path(where), format, more)[0]
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    if kind == "s3":
        objects, _ = _objects(where, format, more)
        open_folder("/".join(where.split("/")[:3])).download_many(
            [(info.key, target / name, None) for name, info in objects]
        )
        return [target / name for name, _ in objects]
    return [http.download(where, target, lambda name, media: _http_name(where, name, media, format, more))]


def skipped_files(uri: str, format: str = "auto", more: Suffixes = ()) -> dict[str, str]:
    """The files of a folder that hold rows for nobody, by name below it, each with the reason."""
    kind, where = kind_of(uri)
    if kind == "local":
        return _local_files(Path(where), format, more)[1]
    return _objects(where, format, more)[1] if kind == "s3" else {}


def is_local(uri: str) -> bool:
    """Whether the source lies on this machine's disks."""
    return kind_of(uri)[0] == "local"


def is_object(uri: str) -> bool:
    """Whether an `s3://` URI is that of an object rather than of a folder."""
    store, key = open_folder("/".join(uri.split("/")[:3])), "/".join(uri.split("/")[3:])
    return bool(key) and store.head(key) is not None


def has_supported_suffix(name: str, formats: Suffixes = FORMATS, more: Suffixes = ()) -> bool:
    """Whether a file of this name is one of the supported formats, or has an ending of `more` as it stands."""
    low = name.lower()
    if low.endswith(more):
        return True
    for suffix in COMPRESSIONS:
        low = low.removesuffix(suffix)
    return low.endswith(formats)


def kind_of(uri: str) -> tuple[str, str]:
    """("local" | "s3" | "http", path or URI).

    Raises:
        InvalidData: empty, another scheme, a password, a name that is not UTF-8.
    """
    uri = references.reveal(uri)
    scheme, separator, rest = uri.partition("://")
    if redaction.holds_credentials(uri) and scheme != "file":
        raise InvalidData(
            "has a user or a password in it, which would stay in the run's records",
            field=f"data {redaction.place(uri)!r}",
            allowed=(
                "an address without: download it yourself and give the file, or put it into the store "
                "and give its s3:// URI"
            ),
        )
    if folders.readable(uri) != uri:
        raise InvalidData(
            "the name is not UTF-8, and stands in records", field=f"data {folders.readable(uri)!r}", fix="rename it"
        )
    if not separator:
        if not uri:
            raise InvalidData("empty", field="data", allowed="a path, s3://, http:// or https://")
        return "local", os.path.expanduser(uri)
    if scheme == "file":
        return "local", unquote(rest)
    if scheme == "s3":
        return "s3", uri.rstrip("/")
    if scheme in ("http", "https"):
        return "http", uri
    allowed = ("file", "s3", "http", "https")
    raise InvalidData(
        "unknown scheme",
        field=f"data {redaction.place(uri)!r}",
        given=scheme,
        allowed=f"a path or one of {', '.join(f'{name}://' for name in allowed)}{nearest(scheme, allowed)}",
    )


def _why_skipped(name: str, format: str, more: Suffixes) -> str | None:
    """Why a file of this name below a folder is left out; one rule for a disk's folder and a bucket's prefix."""
    if folders.is_hidden(name):
        return "hidden: a name on its way begins with '.' or '_'"
    if format == "auto":
        if has_supported_suffix(name, more=more):
            return None
        if has_supported_suffix(name, NAMED):
            return "read only where it is named itself, or format is given"
        return "its name says no format"
    if more and name.lower().endswith(more):
        return None
    if has_supported_suffix(name, BESIDE):
        return "its name says that it holds no rows"
    other = next((kind for kind, endings in ENDINGS_OF.items() if has_supported_suffix(name, endings)), format)
    if other != format and {other, format} != {"csv", "tsv"}:
        return f"its name says {other}, format={format} is given"
    return None


def _supported(more: Suffixes) -> str:
    packed = [name for name in more if not name.endswith(COMPRESSIONS) and f"{name}{COMPRESSIONS[0]}" in more]
    alone = [name for name in more if not any(name.startswith(other) for other in packed)]
    return ", ".join([*FORMATS, *packed, f"alone or with {', '.join(COMPRESSIONS)}", *alone])


def _sorted_out(names: list[str], format: str, more: Suffixes) -> tuple[list[str], dict[str, str]]:
    """Names to read, and those that are left out with the reason."""
    reasons = {name: _why_skipped(name, format, more) for name in names}
    skipped = {folders.readable(name): why for name, why in reasons.items() if why}
    return [name for name in names if not reasons[name]], skipped


def _none_left(where: str, skipped: dict[str, str], more: Suffixes) -> InvalidData:
    some = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
    return InvalidData(
        f"no supported file in it ({f'it has {some}' if some else 'it is empty'})",
        field=f"data {where!r}",
        allowed=f"{_supported(more)}, {GIVE}",
    )


def _local_files(top: Path, format: str, more: Suffixes) -> tuple[list[Path], dict[str, str]]:
    try:
        if top.is_dir():
            names, links = folders.files_below(top)
            rows, skipped = _sorted_out(names, format, more)
            taken, copies = folders.without_copies(top, rows)
            skipped |= {folders.readable(name): why for name, why in sorted((links | copies).items())}
            if not taken:
                raise _none_left(str(top), skipped, more)
            for name in taken:
                folders.refuse_unreadable(top / name, folders.readable(name))
            return sorted(top / name for name in taken), skipped
        folders.refuse_broken_link(top, str(top))
        if not top.exists():
            raise _missing(top)
    except PermissionError as error:
        raise InvalidData(f"permission denied for user id {os.getuid()}", field=f"data {str(top)!r}") from error
    except OSError as error:  # a name of 5,000 characters
        raise InvalidData(
            error.strerror, field=f"data {str(top)[:80]!r}", allowed="the path of a file or folder"
        ) from error
    if not top.is_file():
        raise InvalidData("neither a file nor a folder", field=f"data {str(top)!r}")
    if format == "auto" and not has_supported_suffix(top.name, NAMED, more):
        raise InvalidData(
            "unsupported format",
            field=f"data {str(top)!r}",
            given=top.suffix,
            allowed=f"{_supported(more)}, {GIVE}",
        )
    return [top], {}


def _missing(path: Path) -> NotFound:
    folder = next((parent for parent in path.parents if parent.is_dir()), Path())
    if folder != path.parent:
        return NotFound(
            f"no such file or folder; {str(folder)!r} exists, what is below it does not",
            field=f"data {str(path)!r}",
            given=str(folder),
        )
    hint = nearest(path.name, [entry.name for entry in folder.iterdir()])
    return NotFound(
        f"no such file or folder in {str(folder.absolute())!r}{hint}",
        field=f"data {str(path)!r}",
        given=str(folder.absolute()),
    )


def _name(path: Path, top: Path) -> str:
    """Relative within a folder; of a single file only what says how to read it."""
    return folders.readable(str(path.relative_to(top)) if path != top else "".join(path.suffixes[-2:]).lower())


def file_identity(path: Path) -> str:
    """Of a local file's content, as `fingerprint_source` has it."""
    try:
        with open(path, "rb") as file:
            stat = os.fstat(file.fileno())
            if stat.st_size <= WHOLE:
                return hashlib.file_digest(file, "sha256").hexdigest()
            digest = hashlib.sha256(f"{stat.st_size} {stat.st_mtime_ns}".encode())
            for number in range(SAMPLES):
                file.seek((stat.st_size - BLOCK) * number // (SAMPLES - 1))
                digest.update(file.read(BLOCK))
            return digest.hexdigest()
    except PermissionError as error:
        raise InvalidData(f"permission denied for user id {os.getuid()}", field=f"data {str(path)!r}") from error


def _objects(uri: str, format: str, more: Suffixes) -> tuple[list[tuple[str, ObjectInfo]], dict[str, str]]:
    """(name below the folder, object) of one object or of all below a prefix that hold rows, and the others."""
    store = open_folder("/".join(uri.split("/")[:3]))
    key = "/".join(uri.split("/")[3:])
    single = open_uri(uri)[0].head(key) if key else None
    if single is not None:
        name = key.rpartition("/")[2]
        if format == "auto" and not has_supported_suffix(name, NAMED, more):
            raise InvalidData(
                "unsupported format",
                field=f"data {uri!r}",
                allowed=f"{_supported(more)}, {GIVE}",
            )
        return [(name, single)], {}
    prefix = f"{key}/" if key else ""
    by_name = {info.key.removeprefix(prefix): info for info in store.list(key) if not info.key.endswith("/")}
    if not by_name:
        raise NotFound("no such object, and nothing below it", field=f"data {uri!r}")
    taken, skipped = _sorted_out(list(by_name), format, more)
    if not taken:
        raise _none_left(uri, skipped, more)
    both = set(taken) & {str(above) for name in taken for above in PurePosixPath(name).parents}
    if both:
        raise InvalidData(
            f"{min(both)!r} is an object and a folder, which a disk cannot hold",
            field=f"data {uri!r}",
            given=min(both),
            fix="rename the object",
        )
    return [(name, by_name[name]) for name in taken], skipped


_MEDIA = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "text/tab-separated-values": ".tsv",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/jsonlines": ".jsonl",
    "application/vnd.apache.parquet": ".parquet",
    "application/x-parquet": ".parquet",
}


def _http_name(url: str, offered: str | None, media: str, format: str, more: Suffixes) -> str:
    """A file name with a suffix that says the format: the server's, the address's, or by media type."""
    last = unquote(urlsplit(url).path).rpartition("/")[2]
    for name in (offered or "", last):
        plain = name.replace("\\", "/").rpartition("/")[2].lstrip(".")
        if plain and has_supported_suffix(plain, NAMED, more):
            return plain
    if media in _MEDIA:
        return f"{last or 'data'}{_MEDIA[media]}"
    if format != "auto":
        return last.lstrip("._") or "data"
    raise InvalidData(
        f"cannot tell its format (name {last!r}, type {media or 'not given'!r})",
        field=f"data {redaction.place(url)!r}",
        allowed=f"an address that ends in {_supported(more)}, {GIVE}",
    )
