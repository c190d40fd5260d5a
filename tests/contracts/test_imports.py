"""What a module may bring along when it is imported: read from sys.modules in fresh processes, never from the clock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "shipway"
TRAINING = frozenset({"tensorflow", "tf_keras", "keras", "horovod", "tf2onnx"})
HEAVY = TRAINING | {"onnxruntime", "kserve", "optuna", "sklearn", "scipy", "pandas", "polars"}
CLUSTER = frozenset({"kfp", "kubernetes", "kubeflow"})
DEV = frozenset({"pytest", "hypothesis", "playwright", "nbclient"})


def modules(pattern: str) -> list[str]:
    """Dotted names of the package's modules whose path fits; components and pipelines stand behind links."""
    found = []
    for base, prefix in ((PACKAGE, "shipway"), (ROOT / "components", "shipway.components"),
                         (ROOT / "pipelines", "shipway.pipelines")):  # fmt: skip
        for path in sorted(base.glob(pattern)):
            parts = path.relative_to(base).with_suffix("").parts
            if base == PACKAGE and parts[0] in ("components", "pipelines"):
                continue
            name = ".".join([prefix, *(parts[:-1] if parts[-1] == "__init__" else parts)])
            if parts[-1] != "__main__":
                found.append(name)
    return found


def brought_along(names: list[str], **environment: str) -> dict[str, list[str]]:
    """Top-level packages that each import added, the names imported one behind the other in one fresh process."""
    code = (
        "import importlib, json, sys\n"
        "seen, found = set(), {}\n"
        f"for name in {names!r}:\n"
        "    importlib.import_module(name)\n"
        "    tops = {module.partition('.')[0] for module in sys.modules}\n"
        "    found[name] = sorted(tops - seen)\n"
        "    seen |= tops\n"
        "print(json.dumps(found))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, list[str]] = json.loads(result.stdout.splitlines()[-1])
    return found


def offenders(names: list[str], forbidden: frozenset[str], **environment: str) -> dict[str, list[str]]:
    found = brought_along(names, **environment)
    return {name: bad for name, tops in found.items() if (bad := sorted(forbidden & set(tops)))}


def runs_in_workers(name: str) -> bool:
    """Replicas' own code: it may import TensorFlow at its top."""
    places = ("shipway.training.", "shipway.recipes.images.networks")
    return name.startswith(places) or name.rpartition(".")[2] in ("worker", "model", "layers")


def test_import_shipway_brings_nothing_but_the_standard_library() -> None:
    tops = set(brought_along(["shipway"])["shipway"])
    assert tops - set(sys.stdlib_module_names) - {"shipway"} <= site_hooks()


def site_hooks() -> set[str]:
    """What every process of this environment has before it imports anything."""
    code = "import sys; print(*{m.partition('.')[0] for m in sys.modules})"
    return set(subprocess.check_output([sys.executable, "-c", code], text=True).split())


def test_shipway_help_brings_typer_and_nothing_else() -> None:
    code = (
        "import sys\n"
        "from shipway.cli.main import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(*{m.partition('.')[0] for m in sys.modules})\n"
    )
    tops = set(subprocess.check_output([sys.executable, "-c", code], text=True).splitlines()[-1].split())
    extra = tops - set(sys.stdlib_module_names) - site_hooks() - {"shipway", "typer", "_virtualenv"}
    assert extra <= {"shellingham", "annotated_doc", "typing_extensions"}


@pytest.mark.parametrize("file", ["core.py", "spec.py", "plan.py"])
def test_core_spec_and_plan_run_anywhere(file: str) -> None:
    assert offenders(modules(f"*/{file}"), TRAINING | CLUSTER | DEV) == {}


def test_a_launch_is_light_until_it_is_called() -> None:
    assert offenders(modules("*/launch.py"), HEAVY | CLUSTER | DEV) == {}


def test_a_component_brings_kfp_and_no_model_code() -> None:
    assert offenders(modules("*/component.py"), HEAVY | DEV) == {}


def test_a_room_can_be_imported_inside_a_task_pod() -> None:
    rooms = [name for name in modules("*/__init__.py") if name.startswith("shipway.components.")]
    assert offenders([*rooms, *modules("*/launch.py")], CLUSTER, _KFP_RUNTIME="true") == {}


def test_the_shared_library_brings_neither_kfp_nor_tensorflow() -> None:
    shared = [n for n in modules("**/*.py") if not n.startswith(("shipway.components", "shipway.pipelines"))]
    shared = [name for name in shared if not runs_in_workers(name)]
    assert offenders(shared, TRAINING | CLUSTER | DEV | {"kserve"}) == {}


def test_a_pipeline_is_loaded_without_the_clusters_client_which_a_person_still_finds() -> None:
    code = (
        "import sys\n"
        "from shipway.planning import find\n"
        "assert find('train_and_deploy').function\n"
        "import kfp.compiler, kfp.local\n"
        "assert not {'kubernetes', 'kfp_server_api', 'kfp.client'} & set(sys.modules)\n"
        "assert not hasattr(kfp, 'Clint')\n"
        "from kfp import Client\n"
        "assert kfp.Client is Client is sys.modules['kfp.client'].Client\n"
        "from kfp.kubernetes.node_affinity import validate_node_affinity\n"
        "validate_node_affinity({'preferredDuringSchedulingIgnoredDuringExecution': []})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_worker_brings_kfp() -> None:
    """Read from the source: a worker may import TensorFlow at its top, which takes seconds."""
    for path in [*ROOT.glob("components/*/worker.py"), *ROOT.glob("src/shipway/training/*.py")]:
        text = path.read_text(encoding="utf-8")
        for package in CLUSTER:
            assert f"import {package}" not in text, path
            assert f"from {package}" not in text, path


def test_every_module_can_be_the_first_one_imported() -> None:
    """An import circle shows only when a module is the first: each gets a fork that knows the artifacts only."""
    names = [name for name in modules("**/*.py") if not runs_in_workers(name)]
    code = (
        "import importlib, os, sys, traceback\n"
        "import kfp.dsl, numpy, polars, pydantic, yaml, rich.console, typer, jinja2, obstore, minio\n"
        # Half of all time would go into these models again and again; that they import first is shown right here.
        "import shipway.artifacts\n"
        f"for name in {names!r}:\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        try:\n            importlib.import_module(name)\n"
        "        except BaseException:\n            traceback.print_exc(); os._exit(1)\n"
        "        os._exit(0)\n"
        "    if os.waitpid(child, 0)[1]:\n        sys.exit(name)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
