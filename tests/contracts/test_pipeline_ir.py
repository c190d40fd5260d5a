"""What the compiled pipeline promises Kubeflow: types, images, retries, cache settings, no change by accident."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import images
from shipway.compiling import compile_pipeline
from shipway.errors import InvalidSpec
from shipway.step_pod import step_pod
from shipway.store_secret import DEFAULT_SECRET, OPTIONAL, REQUIRED, STORE_SECRET

GOLDEN = Path(__file__).parents[1] / "golden" / "train_and_deploy.yaml"
DIGEST = "sha256:" + "a" * 64
NEVER_CACHED = {"plan", "release", "notify"}


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    out = tmp_path_factory.mktemp("ir") / "train_and_deploy.yaml"
    return list(yaml.safe_load_all(compile_pipeline("train_and_deploy", out).read_text()))


@pytest.fixture(scope="module")
def ir(documents: list[dict[str, Any]]) -> dict[str, Any]:
    return documents[0]


def tasks_of(ir: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Tasks that run a container, by name, those of inner DAGs too."""
    found: dict[str, dict[str, Any]] = {}
    dags = [ir["root"]["dag"]]
    while dags:
        for name, task in dags.pop()["tasks"].items():
            component = ir["components"][task["componentRef"]["name"]]
            if "dag" in component:
                dags.append(component["dag"])
            else:
                found[name] = task
    return found


def test_the_pipeline_has_at_most_ten_tasks_with_names_that_mean_something(ir: dict[str, Any]) -> None:
    tasks = tasks_of(ir)
    assert len(tasks) <= 10
    for name, task in tasks.items():
        assert task["taskInfo"]["name"] != name, f"{name} needs a display name"


def test_just_the_steps_that_decide_or_act_are_never_cached(ir: dict[str, Any]) -> None:
    cached = {name: task.get("cachingOptions", {}).get("enableCache", False) for name, task in tasks_of(ir).items()}
    assert {name for name, is_cached in cached.items() if not is_cached} == NEVER_CACHED


def test_every_step_has_a_timeout_and_all_that_adopt_are_retried(
    ir: dict[str, Any], documents: list[dict[str, Any]]
) -> None:
    timeouts = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert {name for name, one in timeouts.items() if int(one["activeDeadlineSeconds"]) > 0} == set(
        ir["deploymentSpec"]["executors"]
    )
    retried = {name for name, task in tasks_of(ir).items() if task.get("retryPolicy", {}).get("maxRetryCount", 0)}
    assert set(tasks_of(ir)) - retried == {"plan", "notify"}


def test_every_image_is_the_packages_own(ir: dict[str, Any]) -> None:
    used = {executor["container"]["image"] for executor in ir["deploymentSpec"]["executors"].values()}
    assert used <= set(images.ALL.values())


def test_no_step_installs_packages_when_it_starts(ir: dict[str, Any]) -> None:
    for name, executor in ir["deploymentSpec"]["executors"].items():
        assert "pip install" not in str(executor["container"]["command"]), name


def test_every_parameter_of_the_form_is_described(ir: dict[str, Any]) -> None:
    parameters = ir["root"]["inputDefinitions"]["parameters"]
    assert len(parameters) <= 14
    for name, parameter in parameters.items():
        assert parameter.get("description"), f"{name} needs a description in the pipeline's docstring"
    assert {name for name, parameter in parameters.items() if not parameter.get("isOptional")} == {"name", "data"}


def test_the_registry_and_digests_of_a_company_replace_ours(tmp_path: Path) -> None:
    out = compile_pipeline(
        "train_and_deploy", tmp_path / "p.yaml", registry="registry.example.com:5000/ml", digests={"launcher": DIGEST}
    )
    text = out.read_text()
    assert f"registry.example.com:5000/ml/python-launcher@{DIGEST}" in text
    assert f"registry.example.com:5000/ml/python-tensorflow:{images.VERSION}" in text
    assert images.REGISTRY not in text


def test_jobs_and_endpoints_made_at_run_time_follow_the_companys_registry_and_digests(tmp_path: Path) -> None:
    digests = {name: "sha256:" + digit * 64 for name, digit in zip(images.DEFAULTS, "abcd", strict=True)}
    out = compile_pipeline("train_and_deploy", tmp_path / "p.yaml", registry="registry.example.com/ml", digests=digests)
    ir = next(yaml.safe_load_all(out.read_text()))
    for name, executor in ir["deploymentSpec"]["executors"].items():
        environment = {one["name"]: one["value"] for one in executor["container"]["env"]}
        told = images.references(environment[images.VARIABLE])
        assert told == {
            short: f"registry.example.com/ml/python-{short}@{digest}" for short, digest in digests.items()
        }, name


def test_without_a_registry_a_step_is_told_nothing(ir: dict[str, Any]) -> None:
    assert images.VARIABLE not in str(ir)


def secrets(documents: list[dict[str, Any]]) -> dict[str, dict[str, tuple[str, bool]]]:
    """Executor -> variable -> (Secret, whether it may be missing)."""
    executors = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    return {
        label: {
            pair["envVar"]: (entry["secretNameParameter"]["runtimeValue"]["constant"], entry.get("optional", False))
            for entry in one.get("secretAsEnv", [])
            for pair in entry["keyToEnv"]
        }
        for label, one in executors.items()
    }


def wanted(secret: str) -> dict[str, tuple[str, bool]]:
    return dict.fromkeys(REQUIRED, (secret, False)) | dict.fromkeys(OPTIONAL, (secret, True))


def test_every_step_takes_storage_from_the_secret(documents: list[dict[str, Any]]) -> None:
    """Kubeflow gives a step's pod no environment: without this every run fails in its first step."""
    assert secrets(documents) == dict.fromkeys(documents[0]["deploymentSpec"]["executors"], wanted("shipway-store"))


def test_every_step_knows_its_display_name(ir: dict[str, Any]) -> None:
    told = {
        label: {one["name"]: one["value"] for one in executor["container"]["env"]}["SHIPWAY_TASK_TITLE"]
        for label, executor in ir["deploymentSpec"]["executors"].items()
    }
    labels = {
        name: ir["components"][task["componentRef"]["name"]]["executorLabel"] for name, task in tasks_of(ir).items()
    }
    assert told == {labels[name]: task["taskInfo"]["name"] for name, task in tasks_of(ir).items()}


def test_the_pod_of_every_step_has_the_stores_variables(documents: list[dict[str, Any]]) -> None:
    """As Kubeflow's driver reads the two documents, whatever kfp writes into them."""
    for executor in documents[0]["deploymentSpec"]["executors"]:
        pod = step_pod(documents, executor=executor, name="p", namespace="ml", account="steps", command=["true"])
        given = {each["name"]: each.get("valueFrom") for each in pod["spec"]["containers"][0]["env"]}
        assert {key: given.get(key) for key in REQUIRED} == {
            key: {"secretKeyRef": {"name": DEFAULT_SECRET, "key": key}} for key in REQUIRED
        }, executor


def test_a_run_of_everything_takes_sixteen_pods(ir: dict[str, Any]) -> None:
    """A task is a driver and an executor; each DAG has a driver of its own: the root's and the exit handler's."""
    dags = [one for one in ir["components"].values() if "dag" in one]
    assert 2 * len(tasks_of(ir)) + 1 + len(dags) <= 16


def test_another_secret_is_named_to_steps_and_to_what_they_launch(tmp_path: Path) -> None:
    out = compile_pipeline("train_and_deploy", tmp_path / "p.yaml", secret="team-store")
    documents = list(yaml.safe_load_all(out.read_text()))
    for label, executor in documents[0]["deploymentSpec"]["executors"].items():
        assert secrets(documents)[label] == wanted("team-store")
        assert {"name": STORE_SECRET, "value": "team-store"} in executor["container"]["env"]


OWN = """
from kfp import dsl
from shipway import images, use_store
from shipway.components.notify.component import notify

@dsl.component(base_image="registry.example.com/mine:1", install_kfp_package=False)
def mine(): pass

@dsl.component(base_image=images.LAUNCHER, install_kfp_package=False)
def ours(): pass

@dsl.pipeline(name="own")
def own():
    mine()
    ours()
    use_store(ours(), "another-store")
"""


def test_our_images_find_storage_in_a_pipeline_of_ones_own_and_other_images_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    out = compile_pipeline(f"{tmp_path}/own.py:own", tmp_path / "own.yaml")
    documents = list(yaml.safe_load_all(out.read_text()))
    assert secrets(documents) == {
        "exec-ours": wanted("shipway-store"), "exec-ours-2": wanted("another-store"),
    }  # fmt: skip


def test_kfps_own_compiler_writes_it_too(tmp_path: Path) -> None:
    from kfp import compiler

    from shipway.pipelines.train_and_deploy.pipeline import train_and_deploy

    compiler.Compiler().compile(train_and_deploy, str(tmp_path / "p.yaml"))
    documents = list(yaml.safe_load_all((tmp_path / "p.yaml").read_text()))
    assert set(map(str, secrets(documents).values())) == {str(wanted("shipway-store"))}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"digests": {"lancher": DIGEST}}, "unknown image 'lancher'.*did you mean 'launcher'"),
        ({"digests": {"launcher": "latest"}}, "not sha256:"),
        ({"registry": "https://r.example.com"}, "without a scheme"),
        ({"secret": "My Store"}, "'My Store' is not a Secret's name"),
    ],
)
def test_a_wrong_registry_or_digest_is_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        compile_pipeline("train_and_deploy", tmp_path / "p.yaml", **options)
    assert list(tmp_path.iterdir()) == []


def test_the_compiled_pipeline_changes_only_on_purpose(documents: list[dict[str, Any]]) -> None:
    """`SHIPWAY_UPDATE_GOLDEN=1 pytest tests/contracts/test_pipeline_ir.py` writes the file anew."""
    text = yaml.safe_dump_all(documents, sort_keys=True, width=120, allow_unicode=True)
    if os.environ.get("SHIPWAY_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "the IR changed; if that is what you want, see this test's words"
