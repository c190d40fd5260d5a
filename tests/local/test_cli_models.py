"""Versions and endpoints by the command line: listed, compared, promoted, deployed, asked, rolled back, stopped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shipway.components.evaluate.measure import measure
from shipway.components.evaluate.spec import EvaluationSpec
from shipway.registry import Registry
from shipway.storage import Store
from tests.fixtures import toy, typed

pytestmark = pytest.mark.heavy
ROOT = Path(__file__).parents[2]
Shipway = Callable[..., Any]


@pytest.fixture
def shipway(tmp_path: Path, local_store_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shipway]:
    """Calls the command with --json; the store holds two versions of `toy`."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    train = toy.rows(200)
    splits = {"train": train, "eval": toy.rows(60, 1), "test": toy.rows(60, 2)}
    dataset, store = toy.write_dataset(tmp_path / "dataset", splits), Store.open()
    for flip in (0.4, 0.0):
        model = toy.write_model(tmp_path / f"model-{flip}", dataset, train, flip=flip)
        scratch = tmp_path / f"scratch-{flip}"
        scratch.mkdir()
        wanted = EvaluationSpec(baselines=[], bootstrap=0)
        record = measure(model, dataset, wanted, store=store, folder=scratch)
        Registry(store).register(model, evaluation=record)

    def call(*arguments: str, code: int = 0) -> Any:
        done = typed.run([*arguments, "--json"], cwd=Path.cwd(), env=os.environ)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code == 0 else done.stderr

    yield call
    call("down")


def piped(data: bytes, *options: str, reads: int | None = None) -> subprocess.CompletedProcess[bytes]:
    """`shipway predict toy -`; who reads from it hangs up after `reads` bytes."""
    command = [sys.executable, "-m", "shipway", "predict", "toy", "-", *options]
    if reads is None:
        return subprocess.run(command, input=data, capture_output=True, timeout=120, check=False)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr  # noqa: PT018
        process.stdin.write(data)
        process.stdin.close()
        process.stdout.read(reads)
        process.stdout.close()
        return subprocess.CompletedProcess(command, process.wait(120), b"", process.stderr.read())


def test_versions_are_judged_served_and_rolled_back(shipway: Shipway) -> None:
    listed = shipway("models", "list", "toy")
    assert [(v["version"], v["aliases"]) for v in listed] == [(2, ["candidate"]), (1, [])]
    changed = shipway("models", "diff", "toy", "1", "2")
    assert changed["metrics"]["accuracy"][0] < changed["metrics"]["accuracy"][1]

    assert "is none, not 7" in shipway("models", "promote", "toy", "1", "--from", "7", code=1)
    assert "expected the champion's number" in shipway("models", "promote", "toy", "1", "--from", "x", code=2)
    served = shipway("endpoints", "deploy", "toy", "1")
    assert served["version"] == 1
    (endpoint,) = shipway("endpoints", "list")
    assert (endpoint["name"], endpoint["state"], endpoint["version"]) == ("toy", "Ready", 1)
    assert endpoint["predict_url"] == served["predict_url"]
    assert shipway("models", "show", "toy", "champion")["version"] == 1

    (answer,) = shipway("predict", "toy", "w1_1 w1_2")
    assert answer["text"] == "w1_1 w1_2"
    assert 0 < answer["probability"] <= 1
    lines = b"w1_1\n\nw1_2 w1_3\r\n" * 1000 + b"w0_1"  # more than one request holds
    done = piped(lines)
    told = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert (done.returncode, len(told)) == (0, 3001)
    assert [cells[-1] for cells in told[:4]] == ["w1_1", "", "w1_2 w1_3", "w1_1"]
    assert {len(cells) for cells in told} == {4}  # label, probability, next, and the line
    assert (told[-1][0], told[-1][-1]) == ("intent_0", "w0_1")
    done = piped(b"w1_1\nw1\xff\n", "--json")
    assert (done.returncode, json.loads(done.stdout.splitlines()[0])["text"]) == (2, "w1_1")
    assert done.stderr.decode().startswith("error: standard input, line 2: byte 3 (0xff) is not UTF-8")
    assert b"Traceback" not in piped(lines, reads=10).stderr

    assert shipway("models", "promote", "toy", "2")["previous_version"] == 1
    back = shipway("models", "rollback", "toy")
    assert (back["from_version"], back["version"], back["redeploy"]) == (2, 1, [])
    assert "no champion before version 1" in shipway("models", "rollback", "toy", code=2)

    assert shipway("store", "gc", "--keep", "1", "--older-than", "0")["kept"].keys() == {"toy/1", "toy/2"}
    assert shipway("down")["endpoints"] == ["toy"]
    assert shipway("endpoints", "list") == []
    assert "no endpoint 'toy'" in shipway("predict", "toy", "hi", code=2)
