"""Code that a person names is looked up once: from there on one hash, and the store's own copy."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway import code
from shipway.code.packing import hash_file
from shipway.errors import InvalidSpec, NotFound
from shipway.storage import Store, open_folder
from tests.fixtures import wheels


def test_a_local_folder_is_pinned_before_the_store_has_it_and_uploaded_once(
    tmp_path: Path, local_store_uri: str
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/mine.py").write_text("who = 1\n")
    pinned = code.pin(str(tmp_path / "mine"))
    ref, store = code.CodeRef.parse(pinned), Store.open()
    assert ref.uri == f"{local_store_uri}/code/{ref.sha256}/code.zip"
    assert list(store.list()) == []
    folder = code.use(pinned)  # the plan judges it without the store
    assert folder is not None
    assert (folder / "mine.py").exists()
    code.upload_packed(pinned)
    first = store.head(f"code/{ref.sha256}/code.zip")
    assert first is not None
    code.upload_packed(pinned)
    assert store.head(f"code/{ref.sha256}/code.zip") == first
    assert code.pin(pinned) == pinned
    (tmp_path / "mine/mine.py").write_text("who = 2\n")  # between plan and step: the step has what was planned
    assert code.use(pinned) == folder
    assert (folder / "mine.py").read_text() == "who = 1\n"
    assert code.pin(str(tmp_path / "mine")) != pinned


def test_an_address_is_pinned_to_what_lies_there_now(tmp_path: Path, local_store_uri: str) -> None:
    there = open_folder(f"file://{tmp_path}/elsewhere")
    wheel = wheels.build(tmp_path)
    there.upload(wheel, "wheels/" + wheel.name)
    address = f"{there.uri}/wheels/{wheel.name}"
    pinned = code.pin(address)
    assert pinned == f"{local_store_uri}/code/{hash_file(wheel)}/{wheel.name}#sha256={hash_file(wheel)}"
    assert code.pin(f"{address}#sha256={hash_file(wheel)}") == pinned
    folder = code.use(code.pin(f"{there.uri}/wheels/"))  # the same wheel, in a folder of wheels
    assert folder is not None
    assert (folder / "mine.py").exists()
    there.upload(wheels.build(tmp_path / "new", version="1.0", files={"mine.py": "other"}), "wheels/" + wheel.name)
    with pytest.raises(InvalidSpec, match=f"and {hash_file(wheel)} was asked for: something else lies there"):
        code.pin(f"{address}#sha256={hash_file(wheel)}")
    code.upload_packed(pinned)
    assert code.use(pinned) is not None, "a run that was planned goes on with what it was planned with"


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("nowhere/dist", InvalidSpec, "no file or folder 'nowhere/dist'; expected a wheel, a folder of modules"),
        ("{store}/gone.whl", NotFound, "nothing lies at file://.*gone.whl; `shipway store cp` copies"),
        ("{store}/gone/", NotFound, "nothing lies at file://.*gone/"),
        ("https://example.com/mine.whl", InvalidSpec, "must be s3://bucket/key or file:///path"),
        ("", None, ""),
    ],
)
def test_what_cannot_be_pinned_is_said(
    local_store_uri: str, given: str, error: type[Exception] | None, message: str
) -> None:
    text = given.format(store=local_store_uri)
    if error is None:
        assert code.pin(text) == ""
        return
    with pytest.raises(error, match=message):
        code.pin(text)


def test_a_wheel_at_an_address_that_is_none_is_refused_when_it_is_installed(
    tmp_path: Path, local_store_uri: str
) -> None:
    Store.open().put("any/mine-1.0-py3-none-any.whl", b"<html>not found</html>")
    with pytest.raises(InvalidSpec, match=r"mine-1\.0-py3-none-any\.whl is no wheel, or damaged"):
        code.use(code.pin(f"{local_store_uri}/any/mine-1.0-py3-none-any.whl"))
