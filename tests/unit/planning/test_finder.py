"""Where pipelines are found, and what is refused there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shipway.errors import InvalidSpec, NotFound
from shipway.planning import find, find_all
from shipway.planning.resolving import resolve

SHIPPED = ("image_tagging", "sweep_function", "train_and_deploy", "train_function")
PIPELINE = """
from kfp import dsl

@dsl.component(base_image="python:3.11", install_kfp_package=False)
def step():
    pass

@dsl.pipeline
def {name}():
    step()
"""

PLAN = """
from pydantic import BaseModel
from shipway.planning import Plan

class Churn(Plan):
    sections = {"rows": BaseModel}

plan = Churn()
"""


def make(folder: Path, name: str, **files: str) -> Path:
    """A pipeline's folder below a folder, with more files in it; the folder."""
    place = folder / name
    place.mkdir(parents=True)
    for file, text in {"pipeline": PIPELINE.format(name=name), **files}.items():
        (place / f"{file}.py").write_text(text)
    return place


@pytest.fixture
def pipelines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "pipelines"
    folder.mkdir()
    monkeypatch.setenv("SHIPWAY_PIPELINES", str(folder))
    return folder


def names() -> list[str]:
    return [pipeline.name for pipeline in find_all()]


def test_a_folder_without_a_plan_is_a_pipeline_like_a_bare_file(pipelines: Path) -> None:
    make(pipelines, "mine")
    mine = find("mine")
    assert names() == sorted(["mine", *SHIPPED])
    assert mine.plan is None
    assert mine.function.name == "mine"


def test_every_folder_of_the_variable_is_looked_into_once_and_an_empty_entry_is_no_folder(
    pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(pipelines, "mine")
    make(tmp_path / "more", "yours")
    make(tmp_path / "here", "here")
    monkeypatch.chdir(tmp_path / "here")
    folders = [str(pipelines), "", str(tmp_path / "more"), f"{pipelines}/"]
    monkeypatch.setenv("SHIPWAY_PIPELINES", os.pathsep.join(folders))
    assert names() == sorted(["mine", *SHIPPED, "yours"])


def test_a_package_that_a_distribution_names_is_found(
    pipelines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "site" / "acme", "churn", __init__="", plan=PLAN)
    (tmp_path / "site" / "acme" / "__init__.py").write_text("")
    distribution(tmp_path / "site", "churn = acme.churn")
    monkeypatch.syspath_prepend(tmp_path / "site")
    churn = find("churn")
    assert churn.function.name == "churn"
    assert churn.plan is not None
    assert churn.folder == tmp_path / "site" / "acme" / "churn"
    make(pipelines, "churn")
    with pytest.raises(
        InvalidSpec, match=rf"two are called 'churn': {pipelines}/churn .*acme.churn of acme-ml \(entry"
    ):
        find("churn")


def distribution(site: Path, entry: str) -> None:
    """What pip leaves behind of an installed distribution."""
    info = site / "acme_ml-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-ml\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[shipway.pipelines]\n{entry}\n")


def test_a_name_found_twice_names_both_places(pipelines: Path) -> None:
    make(pipelines, "train_and_deploy")
    with pytest.raises(
        InvalidSpec, match=rf"two are called 'train_and_deploy': the shipped one .*{pipelines}/train_and_d"
    ):
        find("train_and_deploy")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"pipeline": "import no_such_module"}, r"mine/pipeline.py does not import: ModuleNotFoundError: .*no_such"),
        ({"pipeline": PIPELINE.format(name="min")}, r"mine/pipeline.py has no pipeline 'mine'; expected one of .*min"),
        ({"pipeline": PIPELINE.replace("@dsl.pipeline", "@dsl.pipeline(name='other')").format(name="mine")},
         r"mine/pipeline.py: kfp calls it 'other'; expected 'mine'"),
        ({"plan": "plan = 3"}, r"mine/plan.py: expected `plan`, a shipway.planning.Plan with sections"),
        ({"plan": "1/0"}, r"mine/plan.py does not import: ZeroDivisionError"),
        ({"__init__": "1/0"}, r"mine/pipeline.py does not import: ZeroDivisionError"),
    ],
)  # fmt: skip
def test_a_broken_folder_is_one_line_that_names_its_file(pipelines: Path, files: dict[str, str], message: str) -> None:
    make(pipelines, "mine", **files)
    found = find("mine")
    with pytest.raises(InvalidSpec, match=message) as refused:
        print(found.function, found.plan)
    assert "\n" not in str(refused.value)


def test_what_the_variable_names_wrongly_is_refused(pipelines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(pipelines, "my-own")
    with pytest.raises(InvalidSpec, match="my-own: a pipeline's folder is called as its function"):
        find_all()
    monkeypatch.setenv("SHIPWAY_PIPELINES", "/no/such")
    with pytest.raises(InvalidSpec, match="SHIPWAY_PIPELINES: no folder '/no/such'"):
        find_all()


def test_an_unknown_name_tells_the_nearest_of_all(pipelines: Path) -> None:
    make(pipelines, "mine")
    with pytest.raises(
        NotFound, match=r"expected one of image_tagging, mine, sweep_function, .*file.py:function, .*'mine'"
    ):
        find("mnie")


def test_no_file_of_a_folder_stands_in_for_another_module(pipelines: Path, tmp_path: Path) -> None:
    """Neither those of the pipeline's folder, nor those that lie beside it or where a person works."""
    decoy = f"import pathlib; pathlib.Path({str(tmp_path / 'executed')!r}).touch()"
    files = dict.fromkeys(("json", "yaml", "queue", "plan_b", "kfp"), decoy)
    place = make(pipelines, "mine", **files, work="import json, queue, yaml\nassert json.loads('1') == 1")
    for folder in (pipelines, tmp_path):
        for name in files:
            (folder / f"{name}.py").write_text(decoy)
    code = (
        "from shipway.planning import find; f = find('mine'); f.function; f.module('work'); import sys; print(sys.path)"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert str(place) not in done.stdout
    assert not (tmp_path / "executed").exists()


def test_a_folder_that_does_not_load_hides_no_other(pipelines: Path) -> None:
    """`list` says what is wrong with it, and `describe` of another never looks at it."""
    from shipway import catalog

    make(pipelines, "broken", pipeline="def broken(:")
    make(pipelines, "bare")
    entries = {entry.name: entry.summary() for entry in catalog.catalog()}
    assert entries["bare"]["description"] == catalog.find("bare").description
    assert entries["broken"]["error"].startswith(
        f"pipeline: {pipelines}/broken/pipeline.py does not import: SyntaxError"
    )
    with pytest.raises(InvalidSpec, match=r"broken/pipeline\.py does not import"):
        catalog.find("broken")


def test_the_variable_names_the_folder_around_pipelines(pipelines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(pipelines, "bare")
    monkeypatch.setenv("SHIPWAY_PIPELINES", str(pipelines / "bare"))
    with pytest.raises(InvalidSpec, match=r"bare' is a pipeline's own folder; name the folder that holds it, '"):
        find("bare")


FLAT_PLAN = """
from pydantic import BaseModel
from shipway.planning import Plan

class Rows(BaseModel):
    top: int = 3

class Churn(Plan):
    sections = {{"rows": Rows}}
    flat = {flat}
    decided = {decided}

plan = Churn()
"""


@pytest.mark.parametrize(
    ("flat", "decided", "line"),
    [
        ({"top": [("rws", "top")]}, (), r"plan.py: flat\['top'\]: unknown section 'rws'; expected one of rows"),
        ({"top": [("rows", "tpo")]}, (), r"section rows has no field 'tpo'; expected one of top"),
        ({"top": [("rows", "top")]}, ("tops",), r"decided: no flat parameter 'tops'; expected one of top"),
    ],
)
def test_a_plan_that_names_what_it_has_not_is_refused(
    flat: object, decided: object, line: str, pipelines: Path
) -> None:
    """Its parameter would set nothing."""
    make(pipelines, "churn", plan=FLAT_PLAN.format(flat=flat, decided=decided))
    with pytest.raises(InvalidSpec, match=line):
        assert find("churn").plan


def test_a_preset_that_is_no_mapping_is_one_line(pipelines: Path) -> None:
    place = make(pipelines, "churn", plan=PLAN)
    (place / "params").mkdir()
    (place / "params" / "default.yaml").write_text("- a\n")
    with pytest.raises(
        InvalidSpec, match=r"preset default: .*default.yaml: expected a mapping of sections, got \['a'\]"
    ):
        resolve(find("churn"), {})
