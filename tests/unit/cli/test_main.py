"""One way out for every mistake: one line, an exit code, no traceback."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import RunRecord, StepRecord
from shipway.cli.console import console, facts, print_json, say, table
from shipway.cli.main import main
from shipway.storage import Store

Shipway = Callable[..., tuple[int, str, str]]


@pytest.fixture
def shipway(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shipway]:
    """Runs one command line in this process; (exit code, stdout, stderr)."""
    monkeypatch.setenv("SHIPWAY_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SHIPWAY_STORE", f"file://{tmp_path}/store")
    monkeypatch.delenv("KF_PIPELINES_ENDPOINT", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        console.cache_clear()
        with pytest.raises(SystemExit) as end:
            main(arguments)
        found = capsys.readouterr()
        return int(end.value.code or 0), found.out, found.err

    yield run
    console.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["runn"], r"no such command 'runn'.*'run'"),
        (["run"], r"missing argument 'pipeline'; see shipway run --help"),
        (["run", "x", "--pram"], r"no such option: --pram .*--param"),
        (["runs", "shw"], r"no such command 'shw'.*'show'"),
        (["run", "train_and_deploy"], r"run: say where: .*--local"),
        (["run", "train_and_deplo", "--local"], r"unknown pipeline 'train_and_deplo'.*did you mean 'train_and_deploy'"),
        (["run", "gone.py:p", "--local"], r"no file 'gone.py'"),
        (["run", "train_and_deploy", "--local", "--params-file", "gone.yaml"], r"--params-file: no file 'gone.yaml'"),
        (["run", "train_and_deploy", "--local", "--param", "name"], r"--param 'name': expected key=value"),
        (["run", "train_and_deploy", "--local", "--param", "nam=b", "data=x.csv"], r"nam: .*did you mean 'name'"),
        (["run", "train_and_deploy", "--local", "--param", "data=x.csv"], r"name: missing"),
        (["run", "train_and_deploy", "--local", "--param", "name=b"], r"data: missing"),
        (["run", "train_and_deploy", "--local", "--param", "name=b", "data=x.csv", "epochs=many"],
         r"epochs: .*got 'many'"),
        (["run", "train_and_deploy", "--local", "--dry-run", "--param", "name=b", "data=x.csv", "preset=dmeo"],
         r"preset: unknown preset 'dmeo'.*did you mean 'demo'"),
        (["run", "train_and_deploy", "--local", "--dry-run", "--param", "name=b", "data=x.csv", "strategy=horovd"],
         r"training.strategy: .*got 'horovd'"),
        (["run", "train_and_deploy", "--local", "--dry-run", "--param", "name=b", "data=x.csv",
          "overrides.training.batchsize=8"], r"training.batchsize: unknown field.*did you mean 'batch_size'"),
        (["run", "train_and_deploy", "--local", "--dry-run", "--param", "name=b", "data=gone.csv"], r"gone\.csv"),
        (["describe", "evaluate.modle"], r"unknown name .*did you mean 'evaluate.model'"),
        (["compile", "train_and_deploy", "--out", "x.txt"], r"must end in .yaml"),
        (["compile", "train_and_deploy", "--digest", "launcher"], r"--digest 'launcher': expected image=sha256"),
        (["runs", "show", "nope"], r"0 runs begin with 'nope'"),
        (["runs", "show"], r"no runs yet"),
        (["runs", "compare", "a"], r"got 1 run, expected at least two"),
        (["logs", "nope"], r"0 runs begin with 'nope' on this machine"),
        (["models", "show", "bot"], r"no version of 'bot'"),
        (["models", "rollback", "bot"], r"no version of 'bot'"),
        (["models", "promote", "../bot", "--from", "none"], r"no version of '\.\./bot'"),
        (["endpoints", "stop", "bot"], r"no endpoint 'bot'; none is running"),
        (["predict", "bot", "hi"], r"no endpoint 'bot'"),
        (["job", "run", "gone.yaml"], r"manifest gone.yaml: no such file"),
        (["logs", "last"], r"no runs yet on this machine"),
        (["logs", "x", "--tail", "-5"], r"--tail"),
        (["models", "show", "a\x1b[2J\u202e"], r"no version of 'a\\x1b\[2J\\u202e'"),
        (["run", "train_and_deploy", "--local", "--param", "name=b", f"overrides={'[' * 60_000}"],
         r"overrides: nested too deeply"),
        (["store", "cp", "./gone", "x"], r"no file 'gone'"),
        (["store", "cp", "./empty", "x"], r"no file in 'empty'; nothing was copied"),
        (["store", "cp", "a", "b"], r"one side must be local"),
        (["store", "cp", "a", "./b"], r"nothing at 'a'"),
    ],
)  # fmt: skip
def test_a_users_mistake_is_one_line_and_exit_code_2(shipway: Shipway, arguments: list[str], message: str) -> None:
    Path("empty").mkdir()
    code, _, err = shipway(*arguments)
    assert code == 2, err
    assert re.fullmatch(r"error: [^\n]+\n", err), err
    assert re.search(message, err), err
    assert not (Path.cwd() / "home" / "runs").exists()


@pytest.mark.parametrize("command", ["cancel", "retry", "watch", "logs", "runs show", "artifacts"])
def test_a_variable_that_was_not_set_names_no_run(shipway: Shipway, command: str) -> None:
    (Path.cwd() / "home" / "runs" / "only-1").mkdir(parents=True)
    Store.open().put("runs/only-1/run.json", RunRecord(run="only-1", pipeline="p", state="Failed").to_json().encode())
    assert shipway("runs", "show", "only")[0] == 0
    code, _, err = shipway(*command.split(), "")
    assert code == 2
    assert "begin with ''" in err


def test_reports_whose_titles_meet_are_all_there(shipway: Shipway) -> None:
    store = Store.open()
    titles = (("one", ["Check", "A/B"]), ("two", ["Check", "a-b"]))
    steps = [
        StepRecord(
            run="r-1", task=task, state="Succeeded", reports={t: f"{store.uri}/{task}-{i}" for i, t in enumerate(named)}
        )
        for task, named in titles
    ]
    for step in steps:
        for uri in step.reports.values():
            store.put(uri.removeprefix(f"{store.uri}/"), uri.encode())
    record = RunRecord(run="r-1", pipeline="p", state="Succeeded", steps=steps)
    store.put("runs/r-1/run.json", record.to_json().encode())
    code, out, err = shipway("reports", "open", "r-1", "--json")
    assert code == 0, err
    saved = json.loads(out)
    assert set(saved) == {"Check (one)", "A/B", "Check (two)", "a-b"}
    assert len({Path(path).read_text() for path in saved.values()}) == 4


def test_numbers_that_json_has_not_are_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": float("nan"), "most": [float("inf"), 1.5]})
    assert json.loads(capsys.readouterr().out, parse_constant=pytest.fail) == {"loss": None, "most": [None, 1.5]}


def test_what_is_shown_obeys_no_stranger(capsys: pytest.CaptureFixture[str]) -> None:
    console.cache_clear()
    say("a\x1b[31mb")
    table(["x\x07"], [["c\x1b]0;d\x07"]])
    facts([("e", "f\x9b2J")])
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", capsys.readouterr().out)


@pytest.mark.parametrize("arguments", [[], ["runs"], ["models"], ["endpoints"], ["reports"], ["store"], ["job"]])
def test_a_group_alone_prints_its_help(shipway: Shipway, arguments: list[str]) -> None:
    _, out, err = shipway(*arguments)
    assert out.startswith("Usage: shipway")
    assert err == ""


@pytest.mark.parametrize("arguments", [["runs", "list"], ["models", "list"], ["endpoints", "list"], ["store", "ls"]])
def test_an_empty_list_is_no_error_and_empty_json(shipway: Shipway, arguments: list[str]) -> None:
    assert shipway(*arguments)[0] == 0
    code, out, _ = shipway(*arguments, "--json")
    assert code == 0
    assert json.loads(out) == []


def test_looking_starts_no_server(shipway: Shipway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SHIPWAY_STORE")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    for arguments in (["runs", "list"], ["models", "list"], ["endpoints", "list"], ["down"], ["doctor"]):
        shipway(*arguments)
    assert not (tmp_path / "home" / "store").exists()
    assert "nothing is stored" in shipway("store", "ls")[2]


def test_files_go_up_and_come_back(shipway: Shipway, tmp_path: Path) -> None:
    folder = tmp_path / "in" / "deep"
    folder.mkdir(parents=True)
    (folder / "a.txt").write_text("A")
    (folder.parent / "b.txt").write_text("B")
    assert shipway("store", "cp", "./in", "kept")[0] == 0
    assert shipway("store", "cp", "./in/b.txt", "kept/")[0] == 0
    code, out, _ = shipway("store", "ls", "kept", "--json")
    assert code == 0
    assert {entry["key"] for entry in json.loads(out)} == {"kept/deep/", "kept/b.txt"}
    assert shipway("store", "cp", "kept/", "./out")[0] == 0
    assert (tmp_path / "out" / "deep" / "a.txt").read_text() == "A"
    assert shipway("store", "cp", "kept/b.txt", "./one.txt")[0] == 0
    assert (tmp_path / "one.txt").read_text() == "B"


def test_a_plan_names_every_step_and_starts_nothing(shipway: Shipway, tmp_path: Path) -> None:
    Path("rows.csv").write_text("text,label\n" + "".join(f"hello {i},greet\nbye {i},leave\n" for i in range(20)))
    typed = ("run", "train_and_deploy", "--local", "--dry-run", "--param", "name=bot", "data=rows.csv", "workers=3")
    code, out, err = shipway(*typed)
    assert (code, err) == (0, "")
    assert "3 workers" in out
    assert "Nothing was started" in out
    plan: dict[str, Any] = json.loads(shipway(*typed, "--json")[1])
    assert [step["task"] for step in plan["steps"]][:2] == ["plan", "dataset"]
    assert plan["specs"]["training"]["workers"] == 3
    assert plan["run"]
    assert not (tmp_path / "home" / "runs").exists()


def test_what_is_listed_can_be_described(shipway: Shipway) -> None:
    entries = json.loads(shipway("list", "--json")[1])
    assert {"train_and_deploy", "evaluate.model", "notify.notify"} <= {entry["name"] for entry in entries}
    for entry in entries:
        assert entry["description"], entry
    details = json.loads(shipway("describe", "train_and_deploy", "--json")[1])
    assert {"default", "demo"} <= set(details["presets"])
    assert all(given["description"] for given in details["inputs"]), details["inputs"]


def test_every_input_and_output_of_every_component_is_described(shipway: Shipway) -> None:
    from shipway.catalog import catalog

    for entry in catalog():
        details = entry.details()
        for given in [*details["inputs"], *details["outputs"]]:
            assert given["description"], f"{entry.name}: {given['name']} is not described"


def test_the_doctor_names_the_command_that_mends(shipway: Shipway, monkeypatch: pytest.MonkeyPatch) -> None:
    from shipway import doctor

    monkeypatch.setitem(doctor.EXTRAS, "serve", (("no_such_module", "no-such-thing"),))
    code, out, _ = shipway("doctor", "--json")
    found = {finding["what"]: finding for finding in json.loads(out)["findings"]}
    assert code == 1
    assert found["extra serve"]["mend"] == "pip install 'shipway[serve]'"
    assert found["Kubeflow Pipelines"]["state"] in ("info", "warn", "ok")


def test_a_base_install_says_what_a_local_run_needs(shipway: Shipway, monkeypatch: pytest.MonkeyPatch) -> None:
    from shipway import doctor

    monkeypatch.setitem(doctor.EXTRAS, "train", (("no_such_module", "tensorflow-cpu"),))
    Path("rows.csv").write_text("text,label\nhello,greet\nbye,leave\n")
    code, _, err = shipway("run", "train_and_deploy", "--local", "--param", "name=bot", "data=rows.csv")
    assert code == 2
    assert err == (
        "error: run --local: extra train is without tensorflow-cpu; pip install 'shipway[local]' brings all\n"
    )
    assert not Path("home/runs").exists()


def test_a_sentence_encoder_that_is_not_installed_is_said_before_the_run(
    shipway: Shipway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shipway.language.opening.find_spec", lambda name: None if name == "sentencepiece" else name)
    Path("rows.csv").write_text("text,label\nhello,greet\nbye,leave\n")
    given = "overrides.dataset.encoder.sentence_encoder=use-multilingual-3"
    code, _, err = shipway("run", "train_and_deploy", "--local", "--param", "name=bot", "data=rows.csv", given)
    assert (code, err) == (
        2,
        "error: dataset.encoder.sentence_encoder: sentence encoders need sentencepiece, which is not installed here; "
        "pip install 'shipway[language]'\n",
    )
    assert not Path("home/runs").exists()


def test_a_cluster_that_does_not_answer_is_said(shipway: Shipway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KF_PIPELINES_ENDPOINT", "http://127.0.0.1:9")
    found = {f["what"]: f for f in json.loads(shipway("doctor", "--json")[1])["findings"]}
    assert found["Kubeflow Pipelines"]["state"] == "warn"
    assert "nobody answers at http://127.0.0.1:9" in found["Kubeflow Pipelines"]["found"]


CONTEXT = """
apiVersion: v1
kind: Config
current-context: mine
contexts:
- {name: mine, context: {cluster: second, user: me}}
"""
CLUSTERS = """
apiVersion: v1
kind: Config
clusters:
- name: first
  cluster: {server: "http://127.0.0.1:1"}
- name: second
  cluster: {server: "http://127.0.0.1:9"}
users:
- {name: me, user: {}}
"""


def test_the_cluster_is_that_of_the_current_context_over_all_kubeconfigs(
    shipway: Shipway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = {"contexts": CONTEXT, "clusters": CLUSTERS}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join(str(tmp_path / name) for name in ("none", *files)))
    found = {f["what"]: f for f in json.loads(shipway("doctor", "--json")[1])["findings"]}["Kubeflow Pipelines"]
    assert found["state"] == "warn"
    assert "nobody answers at http://127.0.0.1:9/" in found["found"]
    monkeypatch.setenv("SHIPWAY_KFP", "http://127.0.0.1:7")
    found = {f["what"]: f for f in json.loads(shipway("doctor", "--json")[1])["findings"]}["Kubeflow Pipelines"]
    assert "nobody answers at http://127.0.0.1:7" in found["found"]


@pytest.mark.parametrize("text", ["a: b: c", "- a\n", "words", "", "apiVersion: v1\nkind: Config\n", "\x00"])
def test_what_is_no_kubeconfig_is_one_line(
    text: str, shipway: Shipway, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    found = {f["what"]: f for f in json.loads(shipway("doctor", "--json")[1])["findings"]}["Kubeflow Pipelines"]
    assert found["state"] == "warn"
    assert str(tmp_path / "kubeconfig") in found["found"]
    assert "\n" not in found["found"]
