"""What Kubeflow says to bad input, in one line; and what it says that it did, read back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any
from urllib.request import Request, urlopen

import kfp_server_api as kfp
import pytest

from shipway.errors import (
    InvalidSpec,
    KubeflowError,
    KubeflowUnavailable,
    NotAllowed,
    NotFound,
    ShipwayError,
    VersionConflict,
)
from shipway.remote import Connection, connect, kubeflow_run
from shipway.remote.api import NOBODY
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import FAST, SMALL


def told(kind: type[ShipwayError], call: Callable[[], object]) -> str:
    """The one line that a refused call ends with."""
    with pytest.raises(kind) as error:
        call()
    assert type(error.value) is kind
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    return str(error.value)


def run_of(kubeflow: Connection, name: str, **fields: Any) -> Any:
    """A run as `submit` sends it, but for what it has checked before."""
    pipeline = kubeflow.api.find_pipeline(name)
    reference = kfp.V2beta1PipelineVersionReference(pipeline_id=pipeline.pipeline_id)
    given = {"display_name": "x", "experiment_id": kubeflow.api.experiment_id("Default")}
    return kfp.V2beta1Run(**{**given, "pipeline_version_reference": reference, **fields})


@pytest.mark.parametrize("which", ["pipeline", "version"])
def test_a_pipeline_or_version_that_is_gone_is_not_found_though_kubeflow_answers_500(
    kubeflow: Connection, server: KfpServer, published: str, which: str
) -> None:
    """Deleted between the check and the start; sent once, since it was refused and not lost."""
    ids = {"pipeline_id": NOBODY} if which == "pipeline" else {"pipeline_version_id": NOBODY}
    gone = run_of(kubeflow, published, pipeline_version_reference=kfp.V2beta1PipelineVersionReference(**ids))
    assert f"{NOBODY} not found" in told(NotFound, lambda: kubeflow.api.create_run(gone))
    assert server.sent("POST", "/runs") == 1


def test_a_version_that_goes_while_it_is_submitted_is_told_at_once(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    submission = kubeflow.prepare(published)
    server.state.versions.clear()
    assert "PipelineVersion" in told(NotFound, lambda: kubeflow.start(submission))
    assert server.sent("POST", "/runs") == 1


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"strat": 1}, "refused by Kubeflow: parameter(s) provided are not required by pipeline: strat"),
        ({"start": "many"}, "refused by Kubeflow: input parameter start requires type double or integer"),
        ({"more": [1]}, "input parameter more requires type struct"),
    ],
)
def test_wrong_parameters_are_told_in_kubeflows_last_words(
    kubeflow: Connection, published: str, parameters: dict[str, Any], words: str
) -> None:
    wrong = run_of(kubeflow, published, runtime_config=kfp.V2beta1RuntimeConfig(parameters=parameters))
    assert words in told(InvalidSpec, lambda: kubeflow.api.create_run(wrong))


@pytest.mark.parametrize("field", ["display_name", "description"])
def test_a_text_that_is_too_long_is_told_with_its_limit(
    kubeflow: Connection, server: KfpServer, published: str, field: str
) -> None:
    long = run_of(kubeflow, published, **{field: "x" * 256})
    line = told(InvalidSpec, lambda: kubeflow.api.create_run(long))
    assert f"its {field.replace('_', '')} is too long, Kubeflow keeps 255 characters" in line
    assert server.sent("POST", "/runs") == 1


def test_a_name_that_is_too_long_for_a_pipeline_is_told(kubeflow: Connection, server: KfpServer) -> None:
    line = told(InvalidSpec, lambda: kubeflow.api.create_pipeline("n" * 129, ""))
    assert "Pipeline.Name length cannot exceed 128" in line
    assert server.sent("POST", "/pipelines") == 1


def test_a_name_that_is_taken_is_told(kubeflow: Connection, published: str) -> None:
    line = told(VersionConflict, lambda: kubeflow.api.create_pipeline(published, ""))
    assert "The name small already exist. Please specify a new name" in line


def test_a_retry_of_a_run_that_did_not_fail_is_no_conflict_of_names(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published)
    server.state.finish(run.key)
    line = told(InvalidSpec, lambda: kubeflow.api.retry(run.key))
    assert line.endswith("refused by Kubeflow: Workflow must be Failed/Error to retry")


def test_a_cancel_of_a_run_that_has_ended_says_what_it_came_to(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published)
    server.state.finish(run.key)
    assert "Row not found" in told(InvalidSpec, lambda: kubeflow.api.terminate(run.key))
    assert run.cancel() == "Succeeded"


def test_a_namespace_without_rights_is_told_without_the_servers_structures(server: KfpServer) -> None:
    server.state.multi_user = True
    server.forbidden.add("theirs")
    theirs = connect(server.url, namespace="theirs", patience=FAST)
    line = told(NotAllowed, theirs.runs)
    assert "in namespace theirs: User 'ada@example.com' is not authorized" in line
    assert "ResourceAttributes" not in line


def test_a_token_that_expires_while_a_run_is_watched_ends_in_one_line(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    run = kubeflow.submit(published)
    server.token = "another"
    assert "401" in told(NotAllowed, run.wait)


def test_an_api_that_goes_away_in_the_middle_of_a_wait_ends_in_one_line_and_the_run_goes_on(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeflow_run, "POLL_S", 0.02)
    run = kubeflow.submit(published)
    away = threading.Timer(0.1, lambda: setattr(server, "block", lambda _method: True))
    away.start()
    line = told(KubeflowUnavailable, lambda: kubeflow.run(run.key).wait())
    assert "no answer" in line
    assert f"shipway watch {run.key} follows it again" in line
    server.block = None
    assert kubeflow.run(run.key).state == "Pending"


def test_an_api_that_comes_back_in_the_middle_of_a_wait_is_waited_for(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubeflow_run, "POLL_S", 0.02)
    run = kubeflow.submit(published)
    server.faults.add("GET", f"/runs/{run.key}", status=503, times=2)
    server.faults.add("GET", f"/runs/{run.key}", reset=True)
    threading.Timer(0.3, server.state.finish, (run.key,)).start()
    assert run.wait(timeout_s=20).state == "Succeeded"


def silent_acts(kubeflow: Connection, server: KfpServer) -> dict[str, Callable[[], object]]:
    """Calls that write, by the name of what the stand-in does for each."""
    name = kubeflow.publish(SMALL, version="1.0", pin=False).pipeline
    kubeflow.publish(SMALL.replace(":small", ":smaller"), version="2.0", pin=False, current=False)
    kubeflow.schedule(name, "@daily", name="nightly")
    run = kubeflow.submit(name)
    return {
        "create_pipeline": lambda: kubeflow.api.create_pipeline("other", "words"),
        "create_experiment": lambda: kubeflow.api.experiment_id("other"),
        "upload_version": lambda: kubeflow.publish(SMALL, version="3.0", pin=False),
        "update_version": lambda: kubeflow.publish(
            SMALL.replace(":small", ":smaller"), version="2.0", pin=False
        ),
        "create_run": lambda: kubeflow.submit(name),
        "terminate_run": lambda: kubeflow.api.terminate(run.key),
        "retry_run": lambda: (server.state.finish(run.key, "FAILED"), kubeflow.api.retry(run.key)),
        "create_recurring": lambda: kubeflow.schedule(name, "@daily", name="other"),
        "disable_recurring": lambda: kubeflow.pause_schedule("nightly"),
        "enable_recurring": lambda: kubeflow.change_schedule("nightly", when="@weekly"),
        "delete_recurring": lambda: kubeflow.delete_schedule("nightly"),
    }  # fmt: skip


CALLS = [
    "create_pipeline", "create_experiment", "upload_version", "update_version", "create_run", "terminate_run",
    "retry_run", "create_recurring", "disable_recurring", "enable_recurring", "delete_recurring",
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS)
def test_nothing_is_believed_that_kubeflow_answers_200_to_and_does_not_do(
    kubeflow: Connection, server: KfpServer, call: str
) -> None:
    acts = silent_acts(kubeflow, server)
    assert sorted(acts) == sorted(CALLS)
    server.state.silent.add(call)
    with pytest.raises(ShipwayError, match=r"answered that it is|not found") as error:
        acts[call]()
    assert isinstance(error.value, KubeflowError | NotFound)
    assert "\n" not in str(error.value)


def test_what_kubeflow_made_otherwise_than_it_was_told_is_named(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = server.state.create_recurring

    def without_limit(given: Any) -> Any:
        given.max_concurrency = "10"
        return made(given)

    monkeypatch.setattr(server.state, "create_recurring", without_limit)
    line = told(KubeflowError, lambda: kubeflow.schedule(published, "@daily", name="nightly"))
    assert line.startswith("schedule nightly: Kubeflow answered that it is made, and holds another max_concurrency")


def test_an_answer_that_is_a_moment_old_is_asked_for_again(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    """Kubeflow's agent may write an older state over the new one, until it hears of the change."""
    kubeflow.schedule(published, "@daily", name="nightly")
    (job,) = server.state.recurring.values()
    server.state.silent.add("disable_recurring")

    def later() -> None:
        time.sleep(0.02)
        job_now = next(iter(server.state.recurring.values()))
        job_now.status = "DISABLED"

    server.faults.add("GET", f"/recurringruns/{job.recurring_run_id}", status=503, times=2)
    threading.Thread(target=later).start()
    assert not kubeflow.pause_schedule("nightly").is_enabled


def ask(server: KfpServer, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """The stand-in's answer as it goes over the wire."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(f"{server.url}/apis/v2beta1{path}", data=data, method=method)
    try:
        with urlopen(request, timeout=10) as answer:
            return int(answer.status), json.loads(answer.read())
    except OSError as error:
        return int(error.code), json.loads(error.read())  # type: ignore[attr-defined]


def detail(code: int, message: str) -> list[dict[str, Any]]:
    return [{"@type": "type.googleapis.com/google.rpc.Status", "code": code, "message": message}]


def test_the_stand_in_refuses_in_the_real_servers_words(server: KfpServer) -> None:
    """Each answer here was taken from a KFP 2.17.0."""
    gone = f"Job {NOBODY} not found"
    assert ask(server, "GET", f"/recurringruns/{NOBODY}") == (
        404,
        {
            "code": 5,
            "message": f"Failed to fetch a recurring run: ResourceNotFoundError: {gone}",
            "details": detail(5, gone),
        },
    )
    status, answer = ask(server, "DELETE", f"/recurringruns/{NOBODY}?propagation_policy=NONSENSE")
    said = 'parsing field "propagation_policy": "NONSENSE" is not a valid value'
    assert (status, answer) == (400, {"code": 3, "message": said})
    assert ask(server, "DELETE", f"/recurringruns/{NOBODY}?nonsense=1")[0] == 404
    status, answer = ask(server, "GET", "/pipelines/names/nope")
    assert (status, answer["details"]) == (404, detail(5, "Namespace/Pipeline /nope not found"))
    assert ask(server, "GET", "/nowhere") == (404, {"code": 5, "message": "Not Found", "details": []})


def test_the_stand_in_changes_no_description_of_a_pipeline_and_says_nothing(server: KfpServer, published: str) -> None:
    (pipeline,) = server.state.pipelines.values()
    status, answer = ask(server, "PATCH", f"/pipelines/{pipeline.pipeline_id}", {"description": "other"})
    assert (status, answer["description"]) == (200, "Adds twice.")


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"k": "v" * 64}, 'tag value "' + "v" * 64 + '" for key "k" exceeds maximum length of 63 characters'),
        ({"a.b": "v"}, "tag key \"a.b\" must not contain '.' character"),
        ({str(n): "" for n in range(21)}, "number of tags (21) exceeds maximum of 20 per entity"),
    ],
)
def test_the_stand_in_holds_what_kubeflow_allows_of_tags(
    server: KfpServer, published: str, tags: dict[str, str], words: str
) -> None:
    (version,) = server.state.versions.values()
    path = f"/pipelines/{version.pipeline_id}/versions/{version.pipeline_version_id}"
    status, answer = ask(server, "PATCH", path, {"tags": tags})
    assert (status, answer["details"]) == (400, detail(3, words))


def test_the_stand_in_names_a_schedules_runs_as_kubeflow_does(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    made = kubeflow.schedule(published, "@daily", name="A float (1 of 2)")
    key = made.parts[0].recurring_run_id
    server.state._k8s_names[key] = "a-float1of2h5qpx"
    assert server.state.fire(key).display_name == "a-float1of2h5qpx-1-166086173"  # as one did
