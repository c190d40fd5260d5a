"""Endpoints on this machine: real predictors, real sockets, real kills."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import ModelManifest
from shipway.cli.machine import stop_everything
from shipway.client import Client
from shipway.components.deploy.core import inference_service, predict_url
from shipway.components.deploy.spec import EndpointSpec
from shipway.context import Context
from shipway.errors import InvalidSpec, UserError
from shipway.executors import Manifest, Outcome
from shipway.executors.process import service
from shipway.executors.process.service_state import LOG_BYTES, EndpointState, Process, endpoint_folder
from tests.fixtures import toy
from tests.fixtures.load import Load

pytestmark = pytest.mark.heavy

LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> ModelManifest:
    root = tmp_path_factory.mktemp("toy")
    train = toy.rows(300)
    dataset = toy.write_dataset(root / "dataset", {"train": train, "eval": toy.rows(60, 1), "test": toy.rows(60, 2)})
    return toy.write_model(root / "model", dataset, train)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", (tmp_path / "store").as_uri())
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    found = Context.current()
    yield found
    for state in service.list_endpoints(found):
        service.stop_endpoint(found, state.name)


def manifest(model: ModelManifest, version: int, **fields: Any) -> Manifest:
    return inference_service(
        EndpointSpec(name="toy", **fields),
        endpoint="toy",
        version=version,
        model_uri=model.uri,
        model_digest=model.digest,
        variant_digest=model.served.digest,
        recipe=model.recipe,
        answers={"threshold": 0.5},
        store_uri="file:///nowhere",
        run="test",
        namespace="default",
    )


def deploy(context: Context, document: Manifest, deadline_s: float = 60) -> Outcome:
    return service.follow(context, service.ensure(context, document), deadline_s=deadline_s)


def ask(url: str) -> str:
    with Client(url, "toy") as client:
        return client.ask(["w1_1 w1_2"])[1]


def state_of(context: Context) -> EndpointState:
    state = EndpointState.read(endpoint_folder(context, "toy"))
    assert state is not None
    return state


def current_process(context: Context) -> Process:
    current = state_of(context).current
    assert current is not None
    assert current.process is not None
    return current.process


def until(condition: Callable[[], object], deadline_s: float = 120) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true in time"
        time.sleep(0.02)


def test_a_served_version_is_adopted_and_another_takes_over_on_the_same_port(
    context: Context, model: ModelManifest
) -> None:
    first = deploy(context, manifest(model, 1))
    assert (first.state, ask(first.url)) == ("Ready", "1")
    process = current_process(context)
    again = service.ensure(context, manifest(model, 1))
    assert again.adopted
    assert service.follow(context, again).url == first.url
    assert current_process(context) == process

    second = deploy(context, manifest(model, 2))
    assert second.url == first.url
    assert ask(second.url) == "2"
    until(lambda: not process.alive)
    back = deploy(context, manifest(model, 1))
    assert (back.url, ask(back.url)) == (first.url, "1")

    everything = [process for process in (state_of(context).supervisor, current_process(context)) if process]
    assert service.stop_endpoint(context, "toy")
    assert not any(process.alive for process in everything)
    assert service.list_endpoints(context) == []
    with pytest.raises(UserError, match="nobody answers"):
        ask(first.url)
    assert not service.stop_endpoint(context, "toy")
    assert deploy(context, manifest(model, 3)).url == first.url


@pytest.mark.soak
@pytest.mark.timeout(60 + LOOPS * 20)
def test_no_request_fails_while_versions_take_over_under_load(context: Context, model: ModelManifest) -> None:
    url = deploy(context, manifest(model, 0)).url
    with Load(predict_url(url, "toy", "v1")) as load:
        for version in range(1, LOOPS + 1):
            outcome = deploy(context, manifest(model, version))
            assert (outcome.state, outcome.url) == ("Ready", url), outcome.message
            assert ask(url) == str(version)
            load.wait_for(10)
    assert load.failures == []
    assert len(load.versions) == LOOPS + 1


def test_a_slow_request_is_finished_and_an_idle_connection_is_not_reset(context: Context, model: ModelManifest) -> None:
    url = deploy(context, manifest(model, 1)).url
    port = urllib.parse.urlsplit(url).port
    body = json.dumps({"instances": ["w1_1"]}).encode()
    head = b"POST /v1/models/toy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    idle = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    idle.request("GET", "/v2/models/toy/ready")
    assert idle.getresponse().read()
    with socket.create_connection(("127.0.0.1", port), timeout=10) as slow:
        slow.sendall(head + body[:5])  # half a request when the new version takes over
        old = current_process(context)
        assert deploy(context, manifest(model, 2)).state == "Ready"
        assert old.alive
        slow.sendall(body[5:])
        answer = slow.recv(1 << 16)
        while slow_rest := slow.recv(1 << 16):
            answer += slow_rest
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"connection: close" in answer.lower()
    assert b'"model_version":"1"' in answer
    idle.request("GET", "/v2/models/toy/ready")
    response = idle.getresponse()
    assert (response.status, response.getheader("connection")) == (200, "close")
    until(lambda: not old.alive)


def test_a_predictor_that_is_killed_is_started_again_on_its_port(context: Context, model: ModelManifest) -> None:
    url = deploy(context, manifest(model, 1)).url
    process = current_process(context)
    process.signal(signal.SIGKILL)
    assert ask(url) == "1"  # waits in the socket's queue, which the supervisor keeps open
    until(lambda: state_of(context).state == "Ready")
    assert current_process(context) != process
    assert service.list_endpoints(context)[0].current.restarts == 1  # type: ignore[union-attr]


def test_a_killed_supervisor_is_replaced_unasked_and_its_predictor_goes_on_serving(
    context: Context, model: ModelManifest
) -> None:
    url = deploy(context, manifest(model, 1)).url
    process = current_process(context)
    supervisor = state_of(context).supervisor
    assert supervisor is not None
    with Load(predict_url(url, "toy", "v1")) as load:
        supervisor.signal(signal.SIGKILL)
        until(lambda: not supervisor.alive)
        until(lambda: state_of(context).supervisor not in (None, supervisor))
        (listed,) = service.list_endpoints(context)
        assert listed.is_kept
        assert listed.state == "Ready"
        handle = service.ensure(context, manifest(model, 1))
        assert handle.adopted
        assert service.follow(context, handle).url == url
        assert current_process(context) == process
        assert deploy(context, manifest(model, 2)).url == url
        load.wait_for(10)
    assert load.failures == []
    process = current_process(context)
    supervisor = state_of(context).supervisor
    assert supervisor is not None
    supervisor.signal(signal.SIGKILL)
    until(lambda: not supervisor.alive)
    assert service.stop_endpoint(context, "toy")  # while the next one is being started
    assert not process.alive
    assert service.list_endpoints(context) == []
    assert left_of(context) == []


def test_a_predictor_that_is_killed_with_its_supervisor_is_started_again_unasked(
    context: Context, model: ModelManifest
) -> None:
    url = deploy(context, manifest(model, 1)).url
    process, supervisor = current_process(context), state_of(context).supervisor
    assert supervisor is not None
    supervisor.signal(signal.SIGKILL)
    process.signal(signal.SIGKILL)
    until(lambda: not process.alive and not supervisor.alive)
    until(lambda: state_of(context).supervisor != supervisor and current_process(context) != process)
    until(lambda: state_of(context).state == "Ready")
    assert ask(url) == "1"


def test_with_supervisor_and_keeper_the_predictor_goes_too_and_the_endpoint_is_lost_until_it_is_deployed_again(
    context: Context, model: ModelManifest
) -> None:
    url = deploy(context, manifest(model, 1)).url
    state, process = state_of(context), current_process(context)
    assert state.keeper is not None
    assert state.supervisor is not None
    state.keeper.signal(signal.SIGKILL)
    until(lambda: not state.keeper.alive)  # type: ignore[union-attr]
    assert ask(url) == "1"  # the supervisor alone looks after it
    state.supervisor.signal(signal.SIGKILL)
    until(lambda: not process.alive)
    assert left_of(context) == []
    with pytest.raises(UserError, match="nobody answers"):
        ask(url)
    (listed,) = service.list_endpoints(context)
    assert listed.state == "Lost"
    assert deploy(context, manifest(model, 1)).url == url
    assert ask(url) == "1"
    down, left = stop_everything()
    assert left == []
    assert down["endpoints"] == ["toy"]
    assert left_of(context) == []
    assert service.list_endpoints(context) == []


def left_of(context: Context) -> list[str]:
    """Command lines and variables of processes that name this home's endpoints."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
        except OSError:
            continue
        if int(path.name) != os.getpid() and str(context.home / "endpoints").encode() in text:
            found.append(f"{path.name} {text[:200]!r}")
    return found


def test_a_version_that_cannot_be_loaded_leaves_the_one_before_serving(
    context: Context, model: ModelManifest, tmp_path: Path
) -> None:
    url = deploy(context, manifest(model, 1)).url
    train = toy.rows(50)
    dataset = toy.write_dataset(tmp_path / "dataset", {"train": train, "eval": toy.rows(20, 1)})
    broken = toy.write_model(tmp_path / "broken", dataset, train, flip=0.5)
    with (tmp_path / "broken" / "model.onnx").open("r+b") as onnx:
        onnx.write(b"\xff")
    changed = manifest(broken, 2)
    outcome = deploy(context, changed)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.exit_code == 1
    assert "model.onnx" in outcome.message
    assert ask(url) == "1"
    assert deploy(context, changed).state == "Failed"  # asked again, it is tried again
    assert deploy(context, manifest(model, 1)).state == "Ready"


def test_a_predictor_that_keeps_dying_is_a_crash_loop_with_its_last_lines(
    context: Context, model: ModelManifest
) -> None:
    document = manifest(model, 1)
    container = document["spec"]["predictor"]["containers"][0]
    container["command"] = ["python", "-c", "print('no luck today'); raise SystemExit(7)"]
    document["metadata"]["annotations"]["shipway.dev/spec-hash"] = "dying"
    outcome = deploy(context, document)
    assert outcome.state == "Failed"
    assert outcome.first_failure is not None
    assert outcome.first_failure.exit_code == 7
    assert outcome.first_failure.last_lines[-1] == "no luck today"
    assert "no luck today" in outcome.message


def test_the_logs_of_an_endpoint_do_not_grow_for_ever(context: Context, model: ModelManifest) -> None:
    deploy(context, manifest(model, 1))
    folder = endpoint_folder(context, "toy")
    for name in ("revision-1.log", "supervisor.log"):
        with (folder / name).open("ab") as log:
            for i in range(2 * LOG_BYTES // 100):
                log.write(b"%099d\n" % i)
        until(lambda name=name: (folder / name).read_bytes().startswith(b"(what came"))
        lines = (folder / name).read_bytes().splitlines()
        assert lines[0] == b"(what came before was thrown away)"
        assert lines[-1] == b"%099d" % i
        assert all(len(line) == 99 for line in lines[1:])
    current_process(context).signal(signal.SIGTERM)  # an end that nobody asked for
    until(lambda: "draining" in (folder / "revision-1.log").read_text())  # it still writes there
    assert ask(state_of(context).url) == "1"


def test_a_version_that_is_late_is_given_up_and_the_one_before_serves(context: Context, model: ModelManifest) -> None:
    url = deploy(context, manifest(model, 1)).url
    document = manifest(model, 2)
    document["spec"]["predictor"]["containers"][0]["command"] = ["python", "-c", "import time; time.sleep(600)"]
    outcome = deploy(context, document, deadline_s=0.5)
    assert outcome.state == "Failed"
    assert "Deadline" in outcome.message
    until(lambda: state_of(context).incoming is None and not state_of(context).draining)
    assert ask(url) == "1"


def test_a_port_that_is_taken_is_said_in_one_line(context: Context, model: ModelManifest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port} is in use by another program"):
            service.ensure(context, manifest(model, 1, port=port))
    assert service.list_endpoints(context) == []


def test_a_field_that_means_nothing_here_is_named_or_refused(context: Context, model: ModelManifest) -> None:
    document = manifest(model, 1)
    told: list[str] = []
    document["spec"]["predictor"]["containers"][0]["command"] = ["python", "-c", "raise SystemExit(2)"]
    handle = service.ensure(context, document)
    service.follow(context, handle, lambda event: told.append(event.message))
    assert "resources" in told[0]
    document["spec"]["predictor"]["containers"][0]["volumeDevices"] = []
    with pytest.raises(InvalidSpec, match=r"containers\[0\]\.volumeDevices: unknown field"):
        service.ensure(context, document)


def test_a_removed_folder_ends_the_endpoint(context: Context, model: ModelManifest) -> None:
    deploy(context, manifest(model, 1))
    process, supervisor = current_process(context), state_of(context).supervisor
    assert supervisor is not None
    folder = endpoint_folder(context, "toy")
    folder.rename(folder.with_name("gone"))
    until(lambda: not process.alive and not supervisor.alive)


def test_a_stranger_with_a_reused_id_is_never_signalled() -> None:
    me = Process.of(os.getpid())
    assert me is not None
    assert me.alive
    namesake = Process(me.pid, me.started - 1)
    assert not namesake.alive
    namesake.signal(signal.SIGKILL)  # would end this test
