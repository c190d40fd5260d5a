"""What would fail in a step is refused before anything is launched."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import pytest

from shipway import code
from shipway.errors import InvalidSpec
from tests.fixtures import wheels

IN_IMAGES = json.loads((files("shipway.code") / "contents.json").read_text())


def check(path: Path, *named: str) -> None:
    named = named or ("mine:recipe",)
    pinned = code.pin(str(path))
    code.use(pinned)
    code.check_code(pinned, named)


def refused(path: Path, *named: str) -> str:
    with pytest.raises(InvalidSpec) as error:
        check(path, *named)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture(autouse=True)
def store(local_store_uri: str) -> None: ...


def test_code_that_lacks_the_named_module_says_what_it_holds(tmp_path: Path) -> None:
    wheel = wheels.build(tmp_path / "a", files={"trams/__init__.py": "", "more.py": ""})
    check(wheel, "trams:recipe", "trams.deep:other")
    told = refused(wheel, "tram:recipe")
    assert "mine-1.0-py3-none-any.whl holds no module 'tram', which is named; expected one of more, trams" in told
    assert "(did you mean 'trams'?)" in told
    check(wheel, "pydantic:BaseModel")  # the image has it
    with pytest.raises(InvalidSpec, match="holds nothing that is named; give recipe=more:NAME too"):
        code.check_code(code.pin(str(wheel)))


def test_a_projects_folder_is_told_from_its_package(tmp_path: Path) -> None:
    (tmp_path / "p/src/mine").mkdir(parents=True)
    (tmp_path / "p/src/mine/__init__.py").write_text("")
    assert "if its modules lie one folder below, give that folder (src)" in refused(tmp_path / "p", "mine:recipe")
    (tmp_path / "p/pyproject.toml").write_text("")
    assert "it is a project: build its wheel and give that, pip wheel --no-deps" in refused(tmp_path / "p", "mine:x")
    check(tmp_path / "p/src", "mine:recipe")


def test_what_wheels_need_is_beside_them_or_in_the_images(tmp_path: Path) -> None:
    needs = ["needed>=2", "numpy>=2", "tensorflow>=2.10", "shipway", "odd; python_version<'3'", "pytest; extra=='dev'"]
    wheels.build(tmp_path / "dist", requires=needs)
    assert "mine 1.0 needs needed>=2, which is neither beside it nor in the images" in refused(tmp_path / "dist")
    old = wheels.build(tmp_path / "dist", "needed", "1.0")
    assert "mine 1.0 needs needed>=2, and beside it is needed 1.0" in refused(tmp_path / "dist")
    old.unlink()
    wheels.build(tmp_path / "dist", "needed", "2.1")
    check(tmp_path / "dist", "mine:recipe")
    wheels.build(tmp_path / "dist", "needed", "2.1", requires=["deeper; extra=='fast'"])
    check(tmp_path / "dist", "mine:recipe")
    wheels.build(tmp_path / "dist", requires=["needed[fast]"])
    assert "needed 2.1 needs deeper" in refused(tmp_path / "dist")
    wheels.build(tmp_path / "dist", requires=["no requirement at all!"])
    assert "mine 1.0: its METADATA: " in refused(tmp_path / "dist")
    wheels.build(tmp_path / "dist", requires=["numpy>=99"])
    assert f"needs numpy>=99, and the images have numpy {IN_IMAGES['numpy']}" in refused(tmp_path / "dist")


@pytest.mark.parametrize("name", ["tensorflow", "tensorflow_cpu", "numpy", "scikit_learn"])
def test_the_images_stay_the_frameworks(tmp_path: Path, name: str) -> None:
    known = IN_IMAGES[name.replace("_", "-")]
    wheels.build(tmp_path / "dist")
    same = wheels.build(tmp_path / "dist", name, known)  # as `pip wheel` gathers it: never used, and no harm
    check(tmp_path / "dist", "mine:recipe")
    same.unlink()
    wheels.build(tmp_path / "dist", name, "0.1")
    told = refused(tmp_path / "dist", "mine:recipe")
    assert f"brings {name.replace('_', '-')} 0.1, and the images have {known}, which comes first; leave it out" in told


def test_another_version_that_is_installed_here_alone_would_be_used_in_its_place(tmp_path: Path) -> None:
    check(wheels.build(tmp_path, "pytest", "0.1"), "pytest:recipe")  # what is named comes from the code
    wheels.build(tmp_path / "dist")
    wheels.build(tmp_path / "dist", "pytest", "0.1")
    assert "brings pytest 0.1, and 9" in refused(tmp_path / "dist", "mine:recipe")
