"""A folder or a wheel becomes one file whose bytes depend on names and content alone."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import pytest

from shipway import code
from shipway.errors import InvalidSpec
from shipway.storage import Store
from tests.fixtures import wheels


def folder_of(top: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


MODULES = {"mine/__init__.py": "a = 1\n", "mine/words.txt": "b\n", "alone.py": "c = 2\n"}


def test_equal_folders_are_equal_bytes_whatever_their_times_names_and_leftovers(tmp_path: Path) -> None:
    one = folder_of(tmp_path / "one", MODULES)
    other = folder_of(tmp_path / "other", dict(reversed(MODULES.items())))
    folder_of(other, {"mine/__pycache__/__init__.cpython-311.pyc": "", ".git/config": "", "mine/.env": "secret"})
    folder_of(other, {"venv/pyvenv.cfg": "", "venv/lib/a.py": ""})
    os.utime(other / "alone.py", (1, 1))
    (other / "alone.py").chmod(0o600)
    packed, again = code.pack(one, tmp_path / "a"), code.pack(other, tmp_path / "b")
    assert packed.path.read_bytes() == again.path.read_bytes()
    assert packed.sha256 == again.sha256
    assert zipfile.ZipFile(packed.path).namelist() == sorted(MODULES)
    (other / "alone.py").write_text("c = 3\n")
    assert code.pack(other, tmp_path / "b").sha256 != packed.sha256


def test_publishing_twice_writes_once(tmp_path: Path, local_store_uri: str) -> None:
    store, wheel = Store.open(), wheels.build(tmp_path)
    first = code.publish(wheel, store)
    written = store.head(f"code/{first.sha256}/{wheel.name}")
    assert first.uri == f"{local_store_uri}/code/{first.sha256}/{wheel.name}"
    assert code.publish(wheel, store) == first
    assert store.head(f"code/{first.sha256}/{wheel.name}") == written
    assert code.CodeRef.parse(str(first)) == first


def test_a_folder_of_wheels_holds_nothing_but_them(tmp_path: Path) -> None:
    wheels.build(tmp_path / "dist")
    wheels.build(tmp_path / "dist", "other", "2.0")
    (tmp_path / "dist/mine-1.0.tar.gz").write_bytes(b"what `python -m build` makes beside the wheel")
    (tmp_path / "dist/README.md").write_text("x")
    packed = code.pack(tmp_path / "dist", tmp_path / "packed")
    assert zipfile.ZipFile(packed.path).namelist() == ["mine-1.0-py3-none-any.whl", "other-2.0-py3-none-any.whl"]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no file or folder"),
        ({"rows.csv": "a"}, "holds no Python module and no wheel"),
        ({"dist/x": ""}, "holds no Python module and no wheel"),
    ],
)
def test_what_is_no_code_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        code.pack(folder_of(tmp_path / "given", files), tmp_path / "packed")


def refused(path: Path, tmp_path: Path) -> str:
    with pytest.raises(InvalidSpec) as error:
        code.pack(path, tmp_path / "packed")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_files_that_are_no_wheels_are_refused_with_what_to_type(tmp_path: Path) -> None:
    sdist, text = tmp_path / "mine-1.0.tar.gz", tmp_path / "notes.txt"
    sdist.write_bytes(b"")
    text.write_text("")
    damaged = tmp_path / "mine-1.0-py3-none-any.whl"
    damaged.write_bytes(b"PK but no more")
    misnamed = tmp_path / "mine.whl"
    misnamed.write_bytes(b"")
    assert "pip wheel --no-deps -w dist ." in refused(sdist, tmp_path)
    assert "is no wheel; expected a .whl, a folder" in refused(text, tmp_path)
    assert "is no wheel, or damaged" in refused(damaged, tmp_path)
    assert "keep the name that it was built with" in refused(misnamed, tmp_path)


def test_wheels_for_elsewhere_are_refused_with_what_is_here(tmp_path: Path) -> None:
    python, platform = (
        wheels.build(tmp_path, tag="cp38-cp38-win_amd64"),
        wheels.build(tmp_path, "newer", python=">=3.99"),
    )
    assert re.search("is for cp38-cp38-win_amd64, and here is cp3", refused(python, tmp_path))
    assert re.search(r"newer-1.0-py3-none-any.whl is for Python >=3.99, and here is 3\.", refused(platform, tmp_path))


def test_an_editable_wheel_is_refused(tmp_path: Path) -> None:
    path = wheels.build(tmp_path, files={"__editable__.mine-1.0.pth": "/home/somebody/mine"})
    assert "editable wheel, which only points at a folder" in refused(path, tmp_path)


def test_two_versions_of_one_distribution_are_refused(tmp_path: Path) -> None:
    wheels.build(tmp_path / "dist")
    wheels.build(tmp_path / "dist", version="1.1")
    assert "of one distribution; remove one" in refused(tmp_path / "dist", tmp_path)


def test_wheels_and_modules_do_not_mix_and_an_sdist_alone_is_no_wheel(tmp_path: Path) -> None:
    wheels.build(tmp_path / "one")
    (tmp_path / "one/loose.py").write_text("")
    assert "holds wheels and the module 'loose.py'" in refused(tmp_path / "one", tmp_path)
    wheels.build(tmp_path / "two")
    (tmp_path / "two/needed-2.0.tar.gz").write_bytes(b"")
    assert "'needed-2.0.tar.gz' is no wheel" in refused(tmp_path / "two", tmp_path)


def test_names_that_no_archive_holds_alike_are_refused(tmp_path: Path) -> None:
    top = folder_of(tmp_path / "mine", {"a.py": ""})
    for name in (b"caf\xe9.txt", b"back\\slash.txt", b"two\nlines.txt"):
        path = os.path.join(os.fsencode(top), name)
        open(path, "w").close()
        assert "is called so; rename it" in refused(top, tmp_path)
        os.remove(path)


def test_links_out_of_the_folder_stay_behind_and_are_refused(tmp_path: Path) -> None:
    top = folder_of(tmp_path / "mine", {"a.py": ""})
    (top / "b.py").symlink_to(top / "a.py")
    assert code.pack(top, tmp_path / "packed").path.exists()  # within: it is the file
    (top / "secrets.txt").symlink_to("/etc/hostname")
    assert "is a link to '/etc/hostname', which stays behind" in refused(top, tmp_path)
