"""What a person gets who installs the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fresh_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the built wheel.

    Third-party packages are reached in this environment's folder, by a path entry: the editable install's own path
    file is not read from there, so that `shipway` can only come from the wheel.
    """
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    files = subprocess.check_output(["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, text=True)
    for name in filter(None, files.split("\0")):
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            target.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).is_file():
            target.write_bytes((ROOT / name).read_bytes())
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    subprocess.run(build, cwd=source, check=True)
    (wheel,) = folder.glob("shipway-*.whl")
    venv.create(folder / "env", with_pip=False)
    python = folder / "env" / "bin" / "python"
    site = folder / "env" / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (site / "third_party.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps", "--no-index"]
    subprocess.run([*install, str(wheel)], check=True)
    return python


def ask(python: Path, code: str) -> object:
    """The JSON that `code` prints, run away from the checkout."""
    out = subprocess.run([python, "-c", code], cwd="/", check=True, capture_output=True, text=True)
    return json.loads(out.stdout.splitlines()[-1])


def test_the_wheel_is_what_is_imported(fresh_python: Path) -> None:
    where = ask(fresh_python, "import json, shipway; print(json.dumps(shipway.__file__))")
    assert str(where).startswith(str(fresh_python.parents[1]))


def test_the_wheel_brings_every_file_of_the_checkout(fresh_python: Path) -> None:
    code = (
        "import json, shipway, pathlib; root = pathlib.Path(shipway.__file__).parent; "
        "files = [p.relative_to(root) for p in root.rglob('*') if p.is_file() and '__pycache__' not in p.parts]; "
        "print(json.dumps(sorted(map(str, files))))"
    )
    installed = set(ask(fresh_python, code))  # type: ignore[call-overload]
    expected = set()
    for base, prefix in (
        (ROOT / "src/shipway", ""),
        (ROOT / "components", "components/"),
        (ROOT / "pipelines", "pipelines/"),
    ):
        for path in base.rglob("*"):
            if path.is_file() and "__pycache__" not in path.parts:
                expected.add(prefix + str(path.relative_to(base)))
    assert expected - installed == set()


def test_the_wheel_compiles_the_pipeline_it_ships(fresh_python: Path, tmp_path: Path) -> None:
    out = tmp_path / "train_and_deploy.yaml"
    code = (
        "import json; from pathlib import Path; from shipway.compiling import compile_pipeline; "
        f"print(json.dumps(str(compile_pipeline('train_and_deploy', Path({str(out)!r})))))"
    )
    ask(fresh_python, code)
    assert "train-and-deploy" in out.read_text()
