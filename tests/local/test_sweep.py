"""Sweeps on this machine: real runner processes, the real executor, trials that cost next to nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shipway import executors
from shipway.artifacts import SweepRecord, TrialRecord
from shipway.components.sweep import launch
from shipway.components.sweep.spec import SweepSpec
from shipway.context import Context
from shipway.errors import InvalidSpec, JobFailed
from shipway.specs import parse
from shipway.storage import open_folder
from shipway.training import events

HERE = str(Path(__file__).parent)
LOOPS = int(os.environ.get("SHIPWAY_LOOPS", "20"))
PRELOADED = [
    *(f"shipway.components.sweep.{name}" for name in ("launch", "search", "engine", "packed", "experiment")),
    "shipway.executors.process.executor",
    "kubeflow.training",
]
BOWL = {
    "objective": "maximize score",
    "parameters": {"x": "uniform(0, 1)", "rate": "loguniform(0.0001, 1)", "kind": ["good", "bad"]},
    "function": "cheap_trials:bowl",
    "maxTrialCount": 8,
}


@pytest.fixture(autouse=True)
def _trials_on_path(monkeypatch: pytest.MonkeyPatch, local_store_uri: str) -> None:
    """Runners import `cheap_trials`; the store is a folder, which needs no server."""
    monkeypatch.setenv("PYTHONPATH", HERE)
    monkeypatch.setenv("SHIPWAY_RUN", "test-run")


def run(document: dict[str, Any]) -> SweepRecord:
    return launch.play(parse(SweepSpec, document, "sweep"), "", "")[0]


def uri_of(document: dict[str, Any]) -> str:
    """Where a sweep's folder is, without playing it."""
    return launch.identify(parse(SweepSpec, document, "sweep"), "")[1]


def wait_for(condition: Callable[[], bool], deadline_s: float = 60) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, "nothing happened within the deadline"
        time.sleep(0.02)


def test_trials_share_few_processes_and_the_best_is_no_worse_than_the_defaults() -> None:
    record = run({**BOWL, "earlyStopping": "medianstop"})
    assert [trial.number for trial in record.trials] == list(range(8))
    assert len({trial.job for trial in record.trials}) <= 2
    first = record.trials[0]
    assert first.params == {"x": 0.5, "rate": pytest.approx(0.01), "kind": "bad"}
    assert record.best_value is not None
    assert record.best_value >= first.metrics["score"]
    assert record.best_params == record.trials[record.best_trial or 0].params
    assert all(trial.seconds > 0 and trial.history for trial in record.trials)
    folder = open_folder(uri_of({**BOWL, "earlyStopping": "medianstop"}))
    assert {"experiment.yaml", "study.db"} <= {info.key for info in folder.list()}
    assert executors.current().running() == []  # type: ignore[attr-defined]


def test_each_trial_leaves_its_reports_and_parameters_for_tensorboard() -> None:
    document = {**BOWL, "maxTrialCount": 3}
    record = run(document)
    store = open_folder(uri_of(document))
    for trial in record.trials:
        data = store.get(f"tensorboard/trial-{trial.number:04}/{events.NAME}")
        reported = [int(step) for step, _ in trial.history] or [1]
        assert events.steps_in(data) == reported
        assert b"_hparams_/session_start_info" in data
        assert b"_hparams_/session_end_info" in data


def test_a_sweep_without_one_finite_value_fails_however_many_failures_are_allowed() -> None:
    document = {
        "objective": "maximize score", "parameters": {"x": [0.52, 0.55, 0.58]}, "function": "cheap_trials:fragile",
        "maxFailedTrialCount": 3,
    }  # fmt: skip
    with pytest.raises(JobFailed, match=r"none of 3 trials ended with a value of 'score'.*score is not a finite"):
        run(document)
    with pytest.raises(JobFailed, match="none of 3 trials"):  # typed again it is no success either
        run(document)


def test_an_objective_that_a_function_does_not_give_ends_the_sweep_with_the_first_trial() -> None:
    wrong = {**BOWL, "objective": "maximize scroe", "parallelTrialCount": 1}
    with pytest.raises(
        InvalidSpec, match=r"bowl: gave no metric 'scroe'; expected one of loss, score \(did you mean 'score'"
    ):
        run(wrong)


def test_a_metric_that_no_training_reports_is_refused_before_any_trial() -> None:
    document = {"objective": "val_acuracy", "parameters": {"dropout": "uniform(0, 0.5)"}, "training": {"name": "bot"}}
    with pytest.raises(InvalidSpec, match=r"sweep\.objective\.objectiveMetricName: .*did you mean 'val_accuracy'"):
        run(document)


def test_with_engine_katib_the_experiment_itself_is_played_and_gives_the_best_parameters() -> None:
    document = {**BOWL, "engine": "katib", "maxTrialCount": 3}
    record = run(document)
    assert [trial.state for trial in record.trials] == ["Succeeded"] * 3
    assert record.best_params == record.trials[record.best_trial or 0].params
    assert record.best_value == max(trial.metrics["score"] for trial in record.trials)
    assert all(set(trial.params) == {"x", "rate", "kind"} for trial in record.trials)


def test_one_trial_at_a_time_gives_the_same_trials_again() -> None:
    sequential = {**BOWL, "parallelTrialCount": 1, "earlyStopping": {"algorithmSettings": {"start_step": 2}}}
    once = run(sequential)
    again = run({**sequential, "maxFailedTrialCount": 4})  # another spec, so another folder
    assert [(t.params, t.state, t.history) for t in once.trials] == [
        (t.params, t.state, t.history) for t in again.trials
    ]


def test_a_crash_fails_its_own_trial_and_the_rest_go_on_in_a_new_runner() -> None:
    record = run(
        {
            "objective": "maximize score",
            "parameters": {"x": [0.1, 0.3, 0.35, 0.45, 0.55, 0.8, 0.9, 0.95]},
            "function": "cheap_trials:fragile",
            "maxFailedTrialCount": 6,
        }
    )
    by_x = {trial.params["x"]: trial for trial in record.trials}
    assert {x: trial.state for x, trial in by_x.items()} == {
        0.1: "Failed", 0.3: "Failed", 0.35: "Failed", 0.45: "Failed", 0.55: "Failed",
        0.8: "Succeeded", 0.9: "Succeeded", 0.95: "Succeeded",
    }  # fmt: skip
    assert by_x[0.1].error.startswith("ValueError: x is too small for this trial (cheap_trials.py:")
    assert "exit code 3" in by_x[0.3].error
    assert "no metric 'score'; expected one of other" in by_x[0.45].error
    assert "score is not a finite number" in by_x[0.55].error
    assert record.best_params == {"x": 0.95}


def test_a_trial_that_gives_back_no_metrics_fails_alone_and_is_told_what_it_gave() -> None:
    kinds = ["nothing", "pairs", "word", "good", "huge", "vanish"]  # the sweep begins with the middle one
    document = {"objective": "maximize score", "parameters": {"kind": kinds}, "function": "cheap_trials:odd"}
    record = run({**document, "maxFailedTrialCount": 5, "parallelTrialCount": 1})
    told = {trial.params["kind"]: trial.error for trial in record.trials}
    assert told.pop("good") == ""
    assert told.pop("vanish").endswith("its process ended with 0 before the trial was done")
    assert "odd: returned nothing and reported nothing" in told["nothing"]
    assert "what odd returned: expected a number, a dict" in told["pairs"]
    assert all("score is" in told[kind] and "expected a number" in told[kind] for kind in ("word", "huge")), told
    assert len({trial.job for trial in record.trials}) == 1  # none took the runner with it but the last


def test_a_sweep_that_failed_runs_its_failed_trials_again_when_it_is_typed_again(tmp_path: Path) -> None:
    document = {
        "objective": "maximize score",
        "parameters": {"x": [1, 2, 3, 4]},
        "function": "cheap_trials:mended",
        "maxFailedTrialCount": 1,
        "training": {"params": {"mended": str(tmp_path / "mended")}},
    }
    with pytest.raises(JobFailed, match=r"2 of \d trials failed, maxFailedTrialCount is 1; .*the disk is full"):
        run(document)
    (tmp_path / "mended").touch()
    record = run(document)
    assert [(trial.state, trial.params["x"]) for trial in record.trials] == [("Succeeded", x) for x in (3, 1, 2, 4)]


def test_a_mistake_that_no_trial_could_survive_ends_the_sweep_with_the_first() -> None:
    document = {**BOWL, "function": "cheap_trials:bwol", "parallelTrialCount": 1}
    with pytest.raises(InvalidSpec, match=r"'cheap_trials:bwol' cannot be loaded: .*has no 'bwol'"):
        run(document)
    assert records(uri_of(document)) == []


def test_a_trial_that_hangs_is_failed_at_its_deadline() -> None:
    record = run(
        {
            "objective": "maximize score",
            "parameters": {"x": [0.1, 0.5, 0.7]},
            "function": "cheap_trials:hangs",
            "trial_deadline_s": 3,
            "parallelTrialCount": 1,
        }
    )
    late = next(trial for trial in record.trials if trial.params["x"] == 0.7)
    assert (late.state, late.error) == ("Failed", "took longer than 3 s")
    assert record.best_params == {"x": 0.5}


def test_a_reached_goal_ends_the_sweep() -> None:
    record = run({**BOWL, "objective": {"objectiveMetricName": "score", "goal": -5.0}, "parallelTrialCount": 1})
    assert len(record.trials) == 1


@pytest.mark.parametrize("count", [0, 1])
def test_a_sweep_without_choice_passes_through(count: int) -> None:
    record = run({**BOWL, "maxTrialCount": count})
    assert record.trials == []
    assert record.best_params == {"x": 0.5, "rate": pytest.approx(0.01), "kind": "bad"}
    assert not (Context.current().home / "jobs").exists()


def test_the_component_writes_record_and_report_and_gives_the_best_as_json(tmp_path: Path) -> None:
    from shipway.artifacts import DatasetManifest, FileRef

    digest = "0" * 64
    dataset = DatasetManifest(
        name="bot", uri=f"file://{tmp_path}/data", fingerprint="f", recipe="intents", labels=["a"],
        features={}, splits={}, encoder=FileRef(path="encoder.json", size_bytes=1, sha256=digest),
        encoder_sha256=digest,
    )  # fmt: skip
    dataset.write(tmp_path / "dataset")
    outputs = {name: SimpleNamespace(path=str(tmp_path / name)) for name in ("dataset", "sweep", "report")}
    best = launch.search(
        outputs["dataset"], json.dumps({**BOWL, "maxTrialCount": 6}), outputs["sweep"], outputs["report"]
    )
    record = SweepRecord.read(tmp_path / "sweep")
    assert json.loads(best) == record.best_params
    page = (tmp_path / "report").read_text(encoding="utf-8")
    assert "Optimisation history" in page
    assert "Parallel coordinates" in page
    assert "http" not in page.split("</style>")[1].replace("http://www.w3.org/2000/svg", "")
    assert len(page) < 1_000_000
    store = open_folder(f"{Context.current().store_uri}")
    step = json.loads(store.get("runs/test-run/steps/sweep.json"))
    assert (step["state"], step["outputs"]["trials"]) == ("Succeeded", 6)
    assert open_folder(step["outputs"]["uri"]).head("record.json") is not None


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_killed_sweep_goes_on_and_never_runs_a_finished_trial_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(HERE)
    import cheap_trials  # type: ignore[import-not-found]

    log = tmp_path / "log"
    log.touch()
    document = {
        "objective": "maximize score",
        "parameters": {"x": "uniform(0, 1)"},
        "algorithm": "random",
        "function": "cheap_trials:counted",
        "maxTrialCount": 4 + 3 * LOOPS,
        "training": {"params": {"log": str(log)}},
    }
    environment = {k: v for k, v in os.environ.items() if k.startswith("SHIPWAY_") or k == "PYTHONPATH"}
    context = multiprocessing.get_context("forkserver")  # engines are forked from a process that has imported all
    context.set_forkserver_preload(PRELOADED)
    uri, chance = uri_of(document), random.Random(7)
    finished: dict[float, int] = {}  # x of trials with a record, and how often each had run by then
    for kill in range(LOOPS):
        engine = context.Process(target=cheap_trials.search, args=(environment, document, ""))
        engine.start()
        if kill % 4:  # in the middle of trials; else anywhere in the start
            wait_for(lambda: len(records(uri)) > len(finished) or not engine.is_alive())  # noqa: B023
        time.sleep(chance.random() * 0.1)
        engine.kill()
        engine.join()
        ran = Counter(float(line) for line in log.read_text().split())
        assert {x: ran[x] for x in finished} == finished
        finished = {record.params["x"]: ran[record.params["x"]] for record in records(uri)}  # type: ignore[index]
    done = run(document).trials
    ran = Counter(float(line) for line in log.read_text().split())
    assert {x: ran[x] for x in finished} == finished
    assert {record.state for record in done} == {"Succeeded"}
    undisturbed = run({**document, "maxFailedTrialCount": 9})
    assert [record.params for record in done] == [record.params for record in undisturbed.trials]


def records(uri: str) -> list[TrialRecord]:
    from shipway.components.sweep.ledger import Ledger

    return [known.record for known in Ledger(open_folder(uri)).trials().values() if known.record is not None]


COMMAND = "echo score=0.1; echo score=${trialParameters.where}; test ${trialParameters.kind} = good"
IMAGE = "ghcr.io/shipway/python-tensorflow:0.1.0"


def of_tfjobs(command: str) -> dict[str, Any]:
    container = {"name": "tensorflow", "image": IMAGE, "command": ["sh", "-c"], "args": [command]}
    replica = {"restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    other = {**container, "args": ["echo score=7"]}
    worker = {"restartPolicy": "Never", "template": {"spec": {"containers": [other]}}}
    return {"apiVersion": "kubeflow.org/v1", "kind": "TFJob",
            "spec": {"tfReplicaSpecs": {"Chief": replica, "Worker": worker}}}  # fmt: skip


def of_jobs(command: str) -> dict[str, Any]:
    container = {"name": "trial", "image": IMAGE, "command": ["sh", "-c"], "args": [command]}
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {"apiVersion": "batch/v1", "kind": "Job", "spec": {"backoffLimit": 0, "template": {"spec": pod}}}


def experiment(name: str, trial: dict[str, Any], **spec: Any) -> dict[str, Any]:
    """Of two parameters, as somebody would write it who knows Katib."""
    return {
        "apiVersion": "kubeflow.org/v1beta1",
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {
            "objective": {"type": "maximize", "objectiveMetricName": "score"},
            "algorithm": {"algorithmName": "random"},
            "parallelTrialCount": 2,
            "maxTrialCount": 4,
            "maxFailedTrialCount": 3,
            "parameters": [
                {"name": "x", "parameterType": "double", "feasibleSpace": {"min": "0", "max": "1"}},
                {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["good", "bad"]}},
            ],
            "trialTemplate": {
                "primaryContainerName": "tensorflow",
                "trialParameters": [{"name": "where", "reference": "x"}, {"name": "kind", "reference": "kind"}],
                "trialSpec": trial,
            },
            **spec,
        },
    }


def record_of(name: str) -> SweepRecord:
    return SweepRecord.from_json(open_folder(Context.current().uri("sweeps", name)).get("record.json"))


def test_an_experiment_manifest_is_played_with_a_job_for_each_trial() -> None:
    executor, manifest = executors.current(), experiment("bowl", of_tfjobs(COMMAND))
    handle = executor.ensure(manifest)
    outcome = executor.follow(handle)
    text = [line.text for line in executor.logs(handle)]
    assert outcome.state == "Succeeded", text
    record = record_of("bowl")
    assert len(record.trials) == 4
    for trial in record.trials:
        assert trial.state == ("Succeeded" if trial.params["kind"] == "good" else "Failed"), trial.error
        assert trial.metrics["score"] == trial.params["x"]  # of the first replica alone
        assert len(trial.history) == 2
    folder = open_folder(Context.current().uri("sweeps", "bowl"))
    assert {"report.html", "study.db"} <= {info.key for info in folder.list()}
    assert any(line.startswith(f"best: trial {record.best_trial} Succeeded score=") for line in text)
    assert executor.ensure(manifest).adopted


STARTED = "echo $$$$ >> LOG; echo score=1; while ! test -e GO; do sleep 0.05; done; echo score=${trialParameters.where}"
USED = " # ${trialParameters.kind}"


def test_an_experiment_that_is_cancelled_leaves_no_process_and_goes_on_where_it_was(tmp_path: Path) -> None:
    log, go = tmp_path / "log", tmp_path / "go"
    command = STARTED.replace("LOG", str(log)).replace("GO", str(go)) + USED
    executor, manifest = executors.current(), experiment("stopped", of_jobs(command), maxTrialCount=3)
    handle = executor.ensure(manifest)
    wait_for(lambda: log.exists() and len(log.read_text().split()) == 2)
    started = [int(pid) for pid in log.read_text().split()]
    executor.cancel(handle)
    wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
    wait_for(lambda: executor.running() == [])  # type: ignore[attr-defined]
    go.touch()
    again = executor.ensure(manifest)
    outcome = executor.follow(again)
    assert outcome.state == "Succeeded", [line.text for line in executor.logs(again)]
    record = record_of("stopped")
    assert [trial.state for trial in record.trials] == ["Succeeded"] * 3, record.trials
    assert len(log.read_text().split()) == 5  # the two that were ended, and three


def test_a_trial_of_an_experiment_that_falls_behind_is_ended_before_it_is_done() -> None:
    """All trials but the first and best would go on for ten minutes."""
    command = ("for i in 1 2 3; do echo score=${trialParameters.where}; done; "
               "test ${trialParameters.where} = 0.1 || sleep 600")  # fmt: skip
    medianstop = {"min_trials_required": "1", "start_step": "1"}
    manifest = experiment(
        "median", of_jobs(command + USED), algorithm={"algorithmName": "grid"}, parallelTrialCount=1,
        objective={"type": "minimize", "objectiveMetricName": "score"},
        earlyStopping={"algorithmName": "medianstop", "algorithmSettings": [
            {"name": name, "value": value} for name, value in medianstop.items()]},
        parameters=[
            {"name": "x", "parameterType": "discrete", "feasibleSpace": {"list": ["0.1", "0.2", "0.8"]}},
            {"name": "kind", "parameterType": "categorical", "feasibleSpace": {"list": ["good"]}},
        ],
    )  # fmt: skip
    executor = executors.current()
    assert executor.follow(executor.ensure(manifest)).state == "Succeeded"
    assert [trial.state for trial in record_of("median").trials] == ["Succeeded", "EarlyStopped", "EarlyStopped"]
    assert executor.running() == []  # type: ignore[attr-defined]


UNPLAYABLE = [
    (experiment("x", of_jobs("true"), nasConfig={"graphConfig": {}}), r"spec\.nasConfig"),
    (experiment("x", of_jobs("true"), algorithm={"algorithmName": "bayesianoptimization"}), "cluster's Katib only"),
    (experiment("x", {**of_jobs("true"), "spec": {"templat": {}}}), r"spec\.trialTemplate\.trialSpec: .*templat"),
]


@pytest.mark.parametrize(("manifest", "message"), UNPLAYABLE, ids=[message for _, message in UNPLAYABLE])
def test_an_experiment_that_cannot_be_honoured_is_refused_before_anything_starts(
    manifest: dict[str, Any], message: str
) -> None:
    with pytest.raises(InvalidSpec, match=message):
        executors.current().ensure(manifest)
    assert executors.current().running() == []  # type: ignore[attr-defined]


def test_a_sweep_in_the_real_object_store_leaves_everything_there(store_uri: str) -> None:
    document = {**BOWL, "maxTrialCount": 4, "parallelTrialCount": 1, "earlyStopping": "medianstop"}
    record = run(document)
    folder = open_folder(uri_of(document))
    assert folder.uri.startswith(store_uri)
    assert [known.number for known in records(folder.uri)] == [trial.number for trial in record.trials] == [0, 1, 2, 3]
    before = {info.key: info.modified for info in folder.list("trials/")}
    assert run(document).trials == record.trials
    assert {info.key: info.modified for info in folder.list("trials/")} == before
