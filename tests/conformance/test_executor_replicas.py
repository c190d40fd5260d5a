"""What a replica sees, and what is heard of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from shipway.executors import Event
from tests.fixtures.executor_rigs import Rig
from tests.fixtures.manifests import REPORT, SLEEP, changed, tfjob, wait_for

SHOW = "import json, os; print(json.dumps(dict(os.environ) | {'cwd': os.getcwd()}))"


def seen(rig: Rig, manifest: Any) -> dict[str, dict[str, str]]:
    """Each replica's environment."""
    handle = rig.executor.ensure(manifest)
    assert rig.executor.follow(handle).state == "Succeeded"
    return {line.replica: json.loads(line.text) for line in rig.executor.logs(handle)}


def test_tf_config_is_what_the_operator_builds(rig: Rig) -> None:
    # The chief's end would end the job, so it stays.
    chief = SHOW + "; import sys, time; sys.stdout.flush(); time.sleep(120)"
    handle = rig.executor.ensure(tfjob("j", {"Chief": chief, "PS": SHOW, "Worker": (2, SHOW), "Evaluator": SHOW}))
    wait_for(lambda: len(list(rig.executor.logs(handle))) == 5, "all have said what they see")
    found = {line.replica: json.loads(json.loads(line.text)["TF_CONFIG"]) for line in rig.executor.logs(handle)}
    rig.executor.cancel(handle)
    assert set(found) == {"chief-0", "ps-0", "worker-0", "worker-1", "evaluator-0"}
    clusters = [config["cluster"] for config in found.values()]
    assert all(cluster == clusters[0] for cluster in clusters)
    assert {role: len(hosts) for role, hosts in clusters[0].items()} == {
        "chief": 1,
        "evaluator": 1,
        "ps": 1,
        "worker": 2,
    }
    addresses = [address for hosts in clusters[0].values() for address in hosts]
    assert len(set(addresses)) == 5
    assert found["worker-1"]["task"] == {"type": "worker", "index": 1}
    assert found["evaluator-0"]["task"] == {"type": "evaluator", "index": 0}
    assert all(config["environment"] == "cloud" for config in found.values())


def test_a_job_of_one_replica_has_no_tf_config(rig: Rig) -> None:
    for role in ("Worker", "Chief"):
        env = next(iter(seen(rig, tfjob(f"one-{role.lower()}", {role: SHOW})).values()))
        assert "TF_CONFIG" not in env


def test_a_replica_knows_who_it_is(rig: Rig) -> None:
    env = seen(rig, tfjob("j", {"Worker": SHOW}))["worker-0"]
    assert env["SHIPWAY_JOB"] == "j"
    assert (env["SHIPWAY_ATTEMPT"], env["SHIPWAY_REPLICA"]) == ("0", "worker-0")
    assert env.get("SHIPWAY_RESTART", "0") == "0"  # no operator tells it
    assert env["SHIPWAY_STORE"].startswith("file://")


def test_the_containers_env_reaches_it_with_references_resolved(rig: Rig) -> None:
    manifest = tfjob("j", {"Worker": SHOW}, env={"FIRST": "1", "SECOND": "$(FIRST)-$(NONE)-$$(FIRST)"})
    field = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["env"].append(field)
    env = seen(rig, manifest)["worker-0"]
    assert env["SECOND"] == "1-$(NONE)-$(FIRST)"
    assert env["POD"] == "j-worker-0"


@pytest.mark.process_only("pods get them from a Secret")
def test_storage_credentials_reach_it_and_other_variables_of_the_caller_do_not(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("SOME_TOKEN", "not yours")
    monkeypatch.setenv("SHIPWAY_JOB", "outer")
    env = seen(rig, tfjob("j", {"Worker": SHOW}))["worker-0"]
    assert env["AWS_SECRET_ACCESS_KEY"] == "secret"
    assert "SOME_TOKEN" not in env
    assert env["SHIPWAY_JOB"] == "j"


@pytest.mark.process_only("an image has its own folders")
def test_a_relative_pythonpath_still_leads_to_the_users_code(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "src:/opt/mine")
    assert seen(rig, tfjob("j", {"Worker": SHOW}))["worker-0"]["PYTHONPATH"] == f"{os.getcwd()}/src:/opt/mine"


@pytest.mark.process_only("a container's file system is its own")
def test_replicas_share_no_folder(rig: Rig) -> None:
    found = seen(rig, tfjob("j", {"Worker": (3, SHOW + "; open('mine', 'x'); open(os.environ['TMPDIR'] + '/t', 'x')")},
                            success="AllWorkers"))  # fmt: skip
    folders = {env["cwd"] for env in found.values()}
    assert len(folders) == 3
    for env in found.values():
        assert env["HOME"] == env["cwd"]
        assert env["TMPDIR"].startswith(env["cwd"])


@pytest.mark.process_only("a container's file system is its own")
def test_a_private_folder_is_closed_to_others_and_empty_after_a_restart(rig: Rig) -> None:
    code = "import os, sys; open('left', 'x'); print(oct(os.stat('..').st_mode)[-3:]);" \
           "sys.exit(137 * (os.environ['SHIPWAY_RESTART'] == '0'))"  # fmt: skip
    handle = rig.executor.ensure(tfjob("j", {"Worker": code}, restart="ExitCode"))
    assert rig.executor.follow(handle).state == "Succeeded"
    assert [(line.text, line.restart) for line in rig.executor.logs(handle)] == [("700", 0), ("700", 1)]


@pytest.mark.process_only("on a cluster progress goes through the store")
def test_progress_lines_become_events(rig: Rig) -> None:
    code = (
        REPORT
        + "report(step=1, loss=0.5); report(step=2); open(os.environ['SHIPWAY_PROGRESS'], 'a').write('no json\\n')"
    )
    handle = rig.executor.ensure(tfjob("j", {"Worker": (2, code)}, success="AllWorkers"))
    events: list[Event] = []
    rig.executor.follow(handle, on_event=events.append)
    told = [event.data for event in events if event.kind == "progress" and event.data["replica"] == "worker-1"]
    assert told == [
        {"step": 1, "loss": 0.5, "replica": "worker-1", "restart": 0},
        {"step": 2, "replica": "worker-1", "restart": 0},
    ]
    kinds = [event.kind for event in events]
    assert kinds.index("progress") < kinds.index("succeeded")  # nothing comes after the end
    again: list[Event] = []
    rig.another().follow(rig.another().ensure(tfjob("j", {"Worker": (2, code)}, success="AllWorkers")),
                         on_event=again.append)  # fmt: skip
    assert [event for event in again if event.kind != "adopted"] == events


@pytest.mark.process_only("on a cluster a replaced pod takes its log along: tests/cluster/test_executor_logs.py")
def test_logs_hold_every_replica_and_every_start_while_it_runs_and_after(rig: Rig) -> None:
    code = """
import os, sys, time
name, start = os.environ["SHIPWAY_REPLICA"], os.environ["SHIPWAY_RESTART"]
print(name, start, "\\u2028é", flush=True); sys.stderr.write("bar 1%\\rbar 9%\\n"); sys.stderr.flush()
if name == "worker-1" and start == "0": sys.exit(130)
time.sleep(120)
"""
    handle = rig.executor.ensure(tfjob("j", {"Worker": (2, code)}, restart="ExitCode"))
    expected = [("worker-0", 0), ("worker-0", 0), ("worker-1", 0), ("worker-1", 0), ("worker-1", 1), ("worker-1", 1)]
    wait_for(lambda: len(list(rig.executor.logs(handle))) == 6, "all have written")
    lines = list(rig.another().logs(handle))
    assert [(line.replica, line.restart) for line in lines] == expected
    assert [line.text for line in lines[:2]] == ["worker-0 0 \u2028é", "bar 9%"]
    live = rig.executor.logs(handle, replica="worker-1", follow=True)
    first = next(live)
    assert (first.replica, first.text) == ("worker-1", "worker-1 0 \u2028é")
    rig.executor.cancel(handle)
    assert len(list(live)) == 3  # it ends with the job
    assert [(line.replica, line.restart) for line in rig.executor.logs(handle)] == expected


@pytest.mark.process_only("a cluster applies every field")
def test_fields_without_meaning_here_are_named_in_an_event(rig: Rig) -> None:
    manifest = tfjob("j", {"Worker": "pass"}, schedulingPolicy={"queue": "q"})
    container = "spec.tfReplicaSpecs.Worker.template.spec.containers.0"
    manifest = changed(manifest, f"{container}.resources", {"limits": {"cpu": "1"}})
    manifest = changed(manifest, "spec.tfReplicaSpecs.Worker.template.spec.nodeSelector", {"zone": "a"})
    events: list[Event] = []
    rig.executor.follow(rig.executor.ensure(manifest), on_event=events.append)
    told = next(event for event in events if event.kind == "not-applied")
    assert told.data["fields"] == [
        "spec.runPolicy.schedulingPolicy",
        "spec.tfReplicaSpecs.Worker.template.spec.nodeSelector",
        "spec.tfReplicaSpecs.Worker.template.spec.containers[0].resources",
    ]


@pytest.mark.process_only("faults are injected by the local supervisor")
def test_an_injected_fault_strikes_its_replica_at_its_step_and_once(rig: Rig) -> None:
    code = (
        REPORT
        + """
import time
for step in range(40):
    report(step=step); time.sleep(0.01)
"""
    )
    fault = "kill worker-1 when progress.step>=20 with KILL"
    handle = rig.executor.ensure(
        tfjob("j", {"Worker": (2, code)}, restart="ExitCode", success="AllWorkers", fault=fault)
    )
    events: list[Event] = []
    outcome = rig.executor.follow(handle, on_event=events.append)
    assert (outcome.state, outcome.restarts) == ("Succeeded", 1)
    struck = [event for event in events if event.kind == "fault"]
    assert [event.data["replica"] for event in struck] == ["worker-1"]
    before = [event.data["step"] for event in events[: events.index(struck[0])]
              if event.kind == "progress" and event.data["replica"] == "worker-1"]  # fmt: skip
    assert max(before) >= 20


@pytest.mark.process_only("faults are injected by the local supervisor")
def test_a_fault_strikes_as_often_as_it_says(rig: Rig) -> None:
    code = "import os, time; time.sleep(120 * (os.environ['SHIPWAY_RESTART'] < '2'))"
    handle = rig.executor.ensure(
        tfjob("j", {"Worker": code}, restart="ExitCode", fault="kill worker-0 when started with KILL times 2")
    )
    assert rig.executor.follow(handle).restarts == 2


@pytest.mark.process_only("process ids are those of a container")
def test_what_a_replica_leaves_running_ends_with_it(rig: Rig) -> None:
    # One child in the same group, one that left for a session of its own.
    code = """
import subprocess, sys
nap = [sys.executable, "-I", "-S", "-c", "import time; time.sleep(120)"]
print(subprocess.Popen(nap).pid, subprocess.Popen(nap, start_new_session=True).pid)
"""
    handle = rig.executor.ensure(tfjob("j", {"Worker": code}))
    assert rig.executor.follow(handle).state == "Succeeded"
    (line,) = rig.executor.logs(handle)
    for pid in line.text.split():
        assert not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]


@pytest.mark.process_only("on a cluster they run on")
def test_clean_pod_policy_none_leaves_workers_running_as_long_as_somebody_follows(rig: Rig) -> None:
    manifest = tfjob("j", {"Chief": "pass", "Worker": SLEEP}, clean=None)
    handle = rig.executor.ensure(manifest)
    events: list[Event] = []
    assert rig.executor.follow(handle, on_event=events.append).state == "Succeeded"
    assert any(event.kind == "lingering" for event in events)
    wait_for(lambda: rig.alive(handle) == [], "they end with the last follower")
    assert rig.executor.ensure(manifest).adopted
    assert rig.executor.follow(handle).state == "Succeeded"
