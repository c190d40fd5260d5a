"""A user's data: found, fetched, told apart by content, and refused in one clear line."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shipway.errors import InvalidData, NotFound, StorageUnavailable
from shipway.patience import Patience
from shipway.storage import Store, http
from shipway.storage.sources import fetch_source, fingerprint_source, has_supported_suffix

CONTENT = b"text,label\n" + b"".join(b"hello %d,greet\n" % n for n in range(5000))


class Site:
    """A real HTTP server whose faults a test chooses."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.validators = {"ETag": '"v1"'}
        self.media = "text/csv"
        self.break_after: int | None = None  # bytes until the connection is cut
        self.failures = 0  # answers of 503 before a good one
        self.refuse: int | None = None
        self.no_head = False
        self.resumed: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # an answer is sent in two pieces

            def log_message(self, *_arguments: object) -> None:
                pass

            def do_HEAD(self) -> None:
                if site.no_head:
                    self.send_error(405)
                else:
                    self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, with_body: bool) -> None:
                if site.refuse:
                    return self.send_error(site.refuse)
                if site.failures:
                    site.failures -= 1
                    return self.send_error(503)
                start = 0
                span = self.headers.get("Range")
                if span and self.headers.get("If-Range") == site.validators.get("ETag"):
                    site.resumed.append(span)
                    start = int(span.removeprefix("bytes=").rstrip("-"))
                self.send_response(206 if start else 200)
                body = site.content[start:]
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(site.content) - 1}/{len(site.content)}")
                for name, value in {**site.validators, "Content-Type": site.media}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if with_body and site.break_after is not None:
                    cut, site.break_after = site.break_after, None
                    self.wfile.write(body[:cut])
                    self.close_connection = True
                elif with_body:
                    self.wfile.write(body)
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/data/rows.csv"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(http, "PATIENCE", Patience(attempts=4, first_s=0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    site = Site()
    yield site
    site.server.shutdown()
    site.server.server_close()


def test_an_edit_in_place_changes_the_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\nhi,a\n")
    before, stat = fingerprint_source(str(path)), path.stat()
    path.write_text("text,label\nhi,b\n")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert fingerprint_source(str(path)) != before


def test_equal_content_elsewhere_has_the_same_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    (tmp_path / "b.csv").write_text("x")
    os.utime(tmp_path / "b.csv", (1, 1))
    prints = {fingerprint_source(uri) for uri in (f"{tmp_path}/a.csv", f"file://{tmp_path}/b.csv")}
    assert len(prints) == 1


def test_a_big_file_is_sampled_but_its_edit_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shipway.storage.sources.WHOLE", 1 << 20)
    path = tmp_path / "rows.csv"
    path.write_bytes(os.urandom(9 << 20))
    before = fingerprint_source(str(path))
    assert fingerprint_source(str(path)) == before
    with open(path, "r+b") as file:
        file.seek(5 << 20)
        file.write(b"edited")
    assert fingerprint_source(str(path)) != before


def test_a_file_added_to_or_renamed_in_a_folder_changes_its_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x")
    first = fingerprint_source(str(tmp_path))
    (tmp_path / "b.csv.gz").write_text("y")
    second = fingerprint_source(str(tmp_path))
    (tmp_path / "README.md").write_text("not data")
    assert fingerprint_source(str(tmp_path)) == second
    (tmp_path / "b.csv.gz").rename(tmp_path / "c.csv.gz")
    assert len({first, second, fingerprint_source(str(tmp_path))}) == 3


def test_local_files_are_read_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("b.csv", "deep/a.jsonl.zst", ".hidden.csv", "notes.txt"):
        (tmp_path / "in" / name).write_text("x")
    found = fetch_source(str(tmp_path / "in"), tmp_path / "out")
    assert [path.relative_to(tmp_path).as_posix() for path in found] == ["in/b.csv", "in/deep/a.jsonl.zst"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["a.csv", "A.CSV", "a.tsv.gz", "a.jsonl.xz", "a.ndjson.bz2", "a.parquet", "a.csv.zst"])
def test_supported_formats(name: str) -> None:
    assert has_supported_suffix(name)


@pytest.mark.parametrize(
    ("uri", "error", "says"),
    [
        ("{tmp}/rwos.csv", NotFound, r"rwos.csv.*did you mean 'rows.csv'"),
        ("{tmp}/no/where.csv", NotFound, "exists, what is below it does not"),
        ("{tmp}/rows.xls", InvalidData, r"unsupported format '.xls'; expected .csv"),
        ("{tmp}/empty", InvalidData, "it is empty"),
        ("{tmp}/others", InvalidData, "it has notes.txt"),
        ("ftp://host/x.csv", InvalidData, "unknown scheme 'ftp'.*https://"),
        ("htps://host/x.csv", InvalidData, "did you mean 'https'"),
        ("", InvalidData, "empty"),
        ("/dev/null", InvalidData, "neither a file nor a folder"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path: Path, uri: str, error: type, says: str) -> None:
    (tmp_path / "rows.csv").write_text("x")
    (tmp_path / "rows.xls").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "notes.txt").write_text("x")
    for act in (fingerprint_source, lambda given: fetch_source(given, tmp_path / "out")):
        with pytest.raises(error, match=says) as raised:
            act(uri.format(tmp=tmp_path))
        assert "\n" not in str(raised.value)


def test_objects_are_fetched_and_told_apart_by_etag(store_uri: str, tmp_path: Path) -> None:
    store = Store.open(store_uri)
    store.put("in/a.csv", b"a")
    store.put("in/deep/b.csv.gz", b"b")
    store.put("in/notes.md", b"c")
    one, all_of_them = fingerprint_source(f"{store_uri}/in/a.csv"), fingerprint_source(f"{store_uri}/in/")
    found = fetch_source(f"{store_uri}/in", tmp_path / "out")
    assert [(path.relative_to(tmp_path / "out").as_posix(), path.read_bytes()) for path in found] == [
        ("a.csv", b"a"),
        ("deep/b.csv.gz", b"b"),
    ]
    assert [path.read_bytes() for path in fetch_source(f"{store_uri}/in/a.csv", tmp_path / "out")] == [b"a"]
    store.put("in/a.csv", b"x")
    assert fingerprint_source(f"{store_uri}/in/a.csv") != one
    assert fingerprint_source(f"{store_uri}/in") != all_of_them
    with pytest.raises(NotFound, match="nothing below it"):
        fetch_source(f"{store_uri}/nowhere", tmp_path)
    with pytest.raises(InvalidData, match=r"notes.md.*unsupported format"):
        fetch_source(f"{store_uri}/in/notes.md", tmp_path)


def test_an_object_that_is_a_folder_too_is_one_line(store_uri: str, tmp_path: Path) -> None:
    store = Store.open(store_uri)
    for key in ("in/a.csv", "in/a.csv/b.csv"):
        store.put(key, b"text,label\n")
    with pytest.raises(InvalidData, match=r"'a\.csv' is an object and a folder, which a disk cannot hold"):
        fetch_source(f"{store_uri}/in", tmp_path / "rows")


def test_a_bucket_that_is_not_there_is_one_line(store_uri: str) -> None:
    bucket = f"{store_uri.split('/')[2]}-gone"
    with pytest.raises(NotFound, match=rf"^s3://{bucket}: no such bucket at .*; create it first$"):
        fingerprint_source(f"s3://{bucket}/rows.csv")


def test_a_download_that_breaks_off_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    site.break_after = 30_000
    [path] = fetch_source(site.url, tmp_path)
    assert path == tmp_path / "rows.csv"
    assert path.read_bytes() == CONTENT
    assert site.resumed == ["bytes=30000-"]


def test_without_a_strong_etag_a_broken_download_starts_again(site: Site, tmp_path: Path) -> None:
    site.validators = {"ETag": 'W/"v1"'}
    site.break_after = 30_000
    [path] = fetch_source(site.url, tmp_path)
    assert path.read_bytes() == CONTENT
    assert site.resumed == []


def test_a_server_that_is_busy_twice_is_asked_again(site: Site, tmp_path: Path) -> None:
    site.failures = 2
    assert fetch_source(site.url, tmp_path)[0].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("code", "error", "says"),
    [(404, NotFound, "404"), (403, InvalidData, "wants a login"), (500, StorageUnavailable, "answers 500")],
)
def test_a_refusal_is_said_without_the_secrets_of_the_address(
    site: Site, tmp_path: Path, code: int, error: type, says: str
) -> None:
    site.refuse = code
    with pytest.raises(error, match=says) as raised:
        fetch_source(f"{site.url}?token=s3cret", tmp_path)
    assert "s3cret" not in str(raised.value)
    assert list(tmp_path.iterdir()) == []


def test_a_dead_address_is_an_error(site: Site, tmp_path: Path) -> None:
    site.server.shutdown()
    site.server.server_close()
    with pytest.raises(StorageUnavailable, match="nobody answers"):
        fetch_source(site.url, tmp_path)


@pytest.mark.parametrize("validators", [{"ETag": '"v1"'}, {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {}])
@pytest.mark.parametrize("no_head", [False, True])
def test_an_addresss_fingerprint_follows_its_content(site: Site, validators: dict[str, str], no_head: bool) -> None:
    site.validators, site.no_head = validators, no_head
    before = fingerprint_source(site.url)
    assert fingerprint_source(site.url) == before
    site.content = CONTENT + b"more,greet\n"
    if "ETag" in validators:
        site.validators = {"ETag": '"v2"'}
    assert fingerprint_source(site.url) != before


def test_an_address_without_a_suffix_is_named_by_its_media_type(site: Site, tmp_path: Path) -> None:
    url = site.url.replace("rows.csv", "export")
    assert fetch_source(url, tmp_path) == [tmp_path / "export.csv"]
    site.validators["Content-Disposition"] = 'attachment; filename="../../other.jsonl"'
    assert fetch_source(url, tmp_path) == [tmp_path / "other.jsonl"]
    site.validators, site.media = {}, "text/html"
    with pytest.raises(InvalidData, match=r"a web page .text/html."):
        fetch_source(url, tmp_path)


def test_the_content_hash_is_taken_over_what_was_sent_once(site: Site) -> None:
    site.validators, site.break_after = {}, 10_000
    assert http.identity(site.url) == ["sha256", hashlib.sha256(CONTENT).hexdigest(), ""]
