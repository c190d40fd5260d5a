"""No command against Kubeflow shows a token, a cookie or a secret parameter; what others will see is warned of."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shipway.errors import InvalidSpec
from shipway.remote import Connection
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import DIGESTS, Typed

MARK = "SWORDFISH"
TOKEN, COOKIE, QUERY, HOOK = (f"{MARK}-{word}-0123456789" for word in ("kfp", "cookie", "query", "hook"))
HOW = {"input_column": "utterance", "label_column": "intent"}


@pytest.fixture(autouse=True)
def configured(server: KfpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIPWAY_KFP", server.url)


@pytest.fixture
def shipped(kubeflow: Connection) -> str:
    return kubeflow.publish("train_and_deploy", digests=DIGESTS).pipeline


def shown(typed: Typed, *arguments: str, code: int = 0) -> str:
    typed(*arguments, code=code)
    assert MARK not in typed.out + typed.err
    return typed.out + typed.err


def test_a_secret_parameter_is_warned_of_and_never_shown(
    typed: Typed,
    server: KfpServer,
    shipped: str,
    tmp_path: Path,
) -> None:
    params = tmp_path / "params.json"
    secret = {"name": "bot", "data": f"https://h/rows.csv?token={QUERY}", "webhook": f"https://h/hooks/{HOOK}", **HOW}
    params.write_text(json.dumps(secret))
    for more in (("--dry-run",), ("--dry-run", "--json"), (), ("--json",)):
        told = shown(typed, "submit", shipped, "--params-file", str(params), *more)
        assert told.count("warning: ") == 2
        assert "give data=env:SHIPWAY_DATA" in told
    (run, *_) = server.state.runs
    for command in (("runs", "list"), ("runs", "show", run), ("watch", run)):
        server.state.step_s = 0.01
        shown(typed, *command)
        shown(typed, *command, "--json")
    assert "warning: data" in shown(typed, "clone", run)
    made = shown(
        typed, "schedule", "create", shipped, "--when", "@daily", "--params-file", str(params), "--name", "s", "--yes"
    )
    assert "warning: data" in made
    shown(typed, "schedule", "show", "s", "--json")


def test_a_reference_is_sent_as_it_stands_and_only_where_a_step_will_have_it(
    typed: Typed,
    server: KfpServer,
    shipped: str,
    kubeflow: Connection,
) -> None:
    told = shown(typed, "submit", shipped, "--param", "name=bot", "data=env:SHIPWAY_DATA")
    assert "warning" not in told
    (run,) = server.state.runs.values()
    kept = run if hasattr(run, "runtime_config") else run.run
    assert kept.runtime_config.parameters["data"] == "env:SHIPWAY_DATA"
    with pytest.raises(InvalidSpec, match=r"data: env:MY_DATA: no step of .* expected env:SHIPWAY_DATA"):
        kubeflow.prepare(shipped, {"name": "bot", "data": "env:MY_DATA"})


def test_a_secret_on_the_command_line_is_warned_of(typed: Typed, shipped: str) -> None:
    given = ("--param", "name=bot", f"data=https://h/rows.csv?token={QUERY}", "--dry-run")
    assert "warning: data holds a secret, and all users of this machine" in shown(typed, "submit", shipped, *given)


@pytest.mark.parametrize("way", ["SHIPWAY_KFP_TOKEN", "SHIPWAY_KFP_TOKEN_FILE", "SHIPWAY_KFP_COOKIE"])
def test_what_kubeflow_echoes_of_a_token_is_not_shown(
    typed: Typed,
    server: KfpServer,
    way: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    value = f"authservice_session={COOKIE}" if way.endswith("COOKIE") else TOKEN
    (tmp_path / "token").write_text(value)
    monkeypatch.setenv(way, str(tmp_path / "token") if way.endswith("FILE") else value)
    echoed = value.partition("=")[2] or value
    server.faults.add("GET", "/runs", status=400, said=f"bad credentials {echoed}", times=50)
    server.faults.add("GET", "/pipelines", status=400, said=f"bad credentials {echoed}", times=50)
    shown(typed, "runs", "list", code=2)
    shown(typed, "runs", "list", "--json", code=2)
    server.token = "another"
    shown(typed, "submit", "small", code=2)
