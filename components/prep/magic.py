"""What a file really is, by its first bytes, where its name says something else."""

from __future__ import annotations

_ZIP_KINDS = (
    (b"xl/", "an Excel workbook", "save it as CSV UTF-8"),
    (b"word/", "a Word document", "export its rows as CSV"),
    (b"opendocument.spreadsheet", "an OpenDocument spreadsheet", "save it as CSV UTF-8"),
)
# (first bytes, what that is, what to do); `{name}` is the file's name.
_MAGIC = (
    (b"\x1f\x8b", "compressed with gzip", "name it {name}.gz"),
    (b"BZh", "compressed with bzip2", "name it {name}.bz2"),
    (b"\xfd7zXZ\0", "compressed with xz", "name it {name}.xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "name it {name}.zst"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "decompress it: lz4 -d {name}"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and give the file inside"),
    (b"PAR1", "Parquet", "name it {name}.parquet, or give overrides.dataset.format=parquet"),
    (b"ARROW1", "an Arrow (Feather) file", "write it as Parquet: polars.read_ipc(...).write_parquet(...)"),
    (b"Obj\x01", "an Avro file", "write it as Parquet or JSON lines"),
    (b"ORC", "an ORC file", "write it as Parquet"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook", "save it as CSV UTF-8"),
    (b"SQLite format 3\0", "an SQLite database", "export the table: sqlite3 -header -csv"),
    (b"\x89HDF", "an HDF5 file", "write it as Parquet"),
    (b"%PDF-", "a PDF document", "export its rows as CSV"),
    (b"version https://git-lfs.github.com/spec/", "a pointer of Git LFS and not the file", "fetch it: git lfs pull"),
    (b"/annex/objects/", "a pointer of git-annex and not the file", "fetch it: git annex get {name}"),
    (b"\x93NUMPY", "a NumPy array", "write it as Parquet or CSV"),
    (b"\x80\x04\x95", "a Python pickle", "write it as Parquet"),
)  # fmt: skip
_UTF = (
    (b"\xff\xfe\0\0", "UTF-32"),
    (b"\0\0\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


def misnamed(head: bytes, name: str) -> str | None:
    """What a file of this head is if it holds no UTF-8 rows, and what to do, in a few words; None for text."""
    if head.startswith(b"PK\x03\x04"):
        for mark, what, advice in _ZIP_KINDS:
            if mark in head:
                return f"is {what}; {advice}"
        return "is a zip archive; unpack it and give the file or folder inside"
    for magic, what, advice in _MAGIC:
        if head.startswith(magic) and (not magic.isalnum() or b"\0" in head):  # rows may begin with the word ORC
            return f"is {what}; {advice.format(name=name)}"
    if head[257:262] == b"ustar":
        return "is a tar archive; unpack it and give the file or folder inside"
    encoding = _wide_encoding(head)
    if encoding:
        return f"is {encoding}; convert it: iconv -f {encoding} -t UTF-8 {name} > utf8-{name}"
    return _markup(head)


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32 by its mark, or by the NUL bytes of Latin text without one."""
    for mark, encoding in _UTF:
        if head.startswith(mark):
            return encoding
    start = head[:400]
    for offset, encoding in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        nuls, letters = start[offset::2], start[1 - offset :: 2]
        if len(nuls) > 4 and nuls.count(0) > 0.9 * len(nuls) and letters.count(0) == 0:
            return encoding
    return None


def _markup(head: bytes) -> str | None:
    """An answer of a server that was saved in place of the data."""
    start = head[:2000].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")):
        return "is a web page (HTML), perhaps a login or an error saved in place of the data; download it again"
    if start.startswith((b"<?xml", b"<error>")):
        return "is XML, perhaps a server's error saved in place of the data; expected rows"
    return None
