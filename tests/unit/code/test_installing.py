"""Code is verified, unpacked once, and found behind what is installed."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from shipway import code, modules
from shipway.code.packing import hash_file
from shipway.errors import InvalidSpec, NotFound
from shipway.storage import Store
from tests.fixtures import wheels


@pytest.fixture
def published(local_store_uri: str) -> Callable[[Path], code.CodeRef]:
    return lambda path: code.publish(path, Store.open())


def stored(path: Path, name: str) -> code.CodeRef:
    """Any file, as somebody who writes to the store may leave it."""
    store = Store.open()
    store.upload(path, f"any/{name}")
    return code.CodeRef(f"{store.uri}/any/{name}", hash_file(path))


def test_a_wheel_a_folder_of_modules_and_one_of_wheels_install_alike(
    tmp_path: Path, published: Callable[[Path], code.CodeRef]
) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules/mine.py").write_text("version = '1.0'\n")
    wheel = wheels.build(tmp_path / "one")
    wheels.build(tmp_path / "two")
    wheels.build(tmp_path / "two", "needed", files={"needed-1.0.data/purelib/needed.py": "", "needed/data.txt": "x"})
    for path in (tmp_path / "modules", wheel, tmp_path / "two"):
        folder = code.install(published(path), tmp_path / "installed")
        assert (folder / "mine.py").read_text() == "version = '1.0'\n"
    assert (folder / "needed.py").exists()
    assert (folder / "needed/data.txt").exists()
    assert not list(folder.glob("*.whl"))


def test_another_file_than_the_hash_says_is_neither_unpacked_nor_kept(
    tmp_path: Path, published: Callable[[Path], code.CodeRef]
) -> None:
    ref = published(wheels.build(tmp_path))
    other = wheels.build(tmp_path / "other", files={"mine.py": "raise SystemExit('run')"})
    Store.open().upload(other, ref.uri.removeprefix(f"{Store.open().uri}/"))
    with pytest.raises(InvalidSpec, match=f"has sha256 {hash_file(other)}, and {ref.sha256} was asked for"):
        code.install(ref, tmp_path / "installed")
    assert [path.name for path in (tmp_path / "installed").iterdir()] == [f".{ref.sha256}.lock"]


def test_an_edited_folder_is_installed_anew(tmp_path: Path, published: Callable[[Path], code.CodeRef]) -> None:
    ref = published(wheels.build(tmp_path))
    folder = code.install(ref, tmp_path / "installed")
    (folder / "__pycache__").mkdir()  # Python's own
    (folder / "__pycache__/mine.cpython-311.pyc").write_bytes(b"")
    before = folder.stat().st_ino
    assert code.install(ref, tmp_path / "installed").stat().st_ino == before
    for change in (lambda: (folder / "mine.py").write_text("edited"), lambda: (folder / "more.py").write_text("")):
        change()
        assert code.install(ref, tmp_path / "installed") == folder
        assert sorted(path.name for path in folder.glob("*.py")) == ["mine.py"]
        assert "edited" not in (folder / "mine.py").read_text()


def test_many_processes_install_once(tmp_path: Path, published: Callable[[Path], code.CodeRef]) -> None:
    ref = published(wheels.build(tmp_path))
    folder = str(tmp_path / "installed")
    program = f"import pathlib; from shipway.code import CodeRef, install; to = pathlib.Path({folder!r}); "
    program += f"print(install(CodeRef.parse({str(ref)!r}), to).stat().st_ino)"
    started = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
        for _ in range(3)
    ]
    numbers = {process.communicate(timeout=120)[0] for process in started}
    assert all(process.returncode == 0 for process in started)
    assert len(numbers) == 1


@pytest.mark.parametrize(
    ("name", "mode", "message"),
    [
        ("../out.py", 0o100644, "leaves the folder"),
        ("/tmp/out.py", 0o100644, "leaves the folder"),
        ("mine/../../out.py", 0o100644, "leaves the folder"),
        ("mine-1.0.data/purelib/../../out.py", 0o100644, "leaves the folder"),
        ("mine\\..\\..\\out.py", 0o100644, "leaves the folder"),
        ("link.py", 0o120777, "is a link or no plain file"),
        ("shipway/__init__.py", 0o100644, "holds a module 'shipway', which is the framework's own"),
        ("mine-1.0.data/platlib/shipway.py", 0o100644, "holds a module 'shipway'"),
        ("mine-1.0.data/purelib/mine.py", 0o100644, "mine.py is there twice, with different content"),
        ("mine.py/under.py", 0o100644, "cannot be unpacked"),
    ],
)
def test_hostile_archives_leave_nothing(
    tmp_path: Path, local_store_uri: str, name: str, mode: int, message: str
) -> None:
    path = wheels.entry(wheels.build(tmp_path), name, mode=mode)
    ref = stored(path, path.name)
    with pytest.raises(InvalidSpec, match=message) as error:
        code.install(ref, tmp_path / "installed")
    assert "\n" not in str(error.value)
    assert [each.name for each in (tmp_path / "installed").iterdir()] == [f".{ref.sha256}.lock"]
    assert not (tmp_path / "out.py").exists()


def test_an_archive_that_would_fill_the_disk_is_refused_unopened(tmp_path: Path, local_store_uri: str) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.py", b"0" * (1 << 20))
    data = bytearray(path.read_bytes())
    place = data.rindex(b"PK\x01\x02") + 24  # of the size that the directory states
    data[place : place + 4] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InvalidSpec, match="unpacks to more than 2 GiB"):
        code.install(stored(path, path.name), tmp_path / "installed")


def test_nothing_there_says_so(tmp_path: Path, local_store_uri: str) -> None:
    with pytest.raises(NotFound, match=r"code: nothing lies at file://.*gone.whl"):
        code.install(code.CodeRef(f"{local_store_uri}/gone.whl", "0" * 64), tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("https://pypi.example/x.whl#sha256=" + "0" * 64, "must be s3://bucket/key or file:///path"),
        ("s3://bucket/x.whl", "says no hash"),
        ("s3://bucket/x.whl#sha256=123", "'123' is no sha256"),
        ("s3://bucket/x.tar.gz#sha256=" + "0" * 64, "neither a wheel"),
        ("s3://user:secret@bucket/x.whl#sha256=" + "0" * 64, "holds a credential"),
    ],
)
def test_what_is_no_address_with_a_hash_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        code.CodeRef.parse(text)


def test_code_comes_behind_what_is_installed_but_for_the_module_that_is_named(
    tmp_path: Path, published: Callable[[Path], code.CodeRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"json.py": "raise AssertionError", "tabulate.py": "who = 'code'", "mine_of_code.py": "import json, numpy"}
    (tmp_path / "pythonpath").mkdir()
    (tmp_path / "pythonpath/mine_of_code.py").write_text("raise AssertionError")
    monkeypatch.delitem(sys.modules, "tabulate", raising=False)
    folder = code.use(published(wheels.build(tmp_path, files={**files, "numpy.py": "raise AssertionError"})))
    assert sys.path[-1] == str(folder)
    sys.path.insert(-1, str(tmp_path / "pythonpath"))
    assert modules.load("tabulate").who == "code"  # type: ignore[attr-defined]
    assert modules.load("mine_of_code").__file__ == f"{folder}/mine_of_code.py"
    assert str(folder) not in modules.own_folders()
    sys.path.remove(str(tmp_path / "pythonpath"))
    monkeypatch.delitem(sys.modules, "tabulate")


def test_the_next_code_replaces_the_one_before_its_modules_too(
    tmp_path: Path, published: Callable[[Path], code.CodeRef]
) -> None:
    first = code.use(published(wheels.build(tmp_path, version="1.0")))
    assert modules.load("mine").version == "1.0"  # type: ignore[attr-defined]
    second = code.use(published(wheels.build(tmp_path, version="2.0")))
    assert modules.load("mine").version == "2.0"  # type: ignore[attr-defined]
    assert str(first) not in sys.path
    assert sys.path[-1] == str(second)


def test_processes_that_share_a_steps_work_find_its_code_and_those_that_stand_for_pods_do_not(
    tmp_path: Path, published: Callable[[Path], code.CodeRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own/of_both.py").write_text("who = 'pythonpath'")
    folder = code.use(published(wheels.build(tmp_path, files={"of_both.py": "who = 'code'"})))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "own"))
    program = "from shipway import modules; print(modules.load('of_both').who)"

    def printed(environment: dict[str, str]) -> str:
        environment |= {modules.OWN: str(tmp_path / "own")}
        words = [sys.executable, "-P", "-c", program]
        return subprocess.run(words, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    assert printed(modules.for_helper(os.environ)) == "code"
    monkeypatch.setenv(modules.CODE, str(folder))  # of a helper that starts others
    assert printed(modules.for_child(os.environ)) == "pythonpath"
    assert printed(modules.for_container(os.environ)) == "pythonpath"
