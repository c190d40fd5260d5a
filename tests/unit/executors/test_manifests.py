"""What a manifest may not say: one line that names the field."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipway import images
from shipway.errors import InvalidSpec, UserError
from shipway.executors import Event, Manifest, read_manifest, run_manifest
from shipway.executors.identity import base_name
from shipway.executors.process.environments import VARIABLE, environments, resolve_command
from shipway.executors.process.faults import parse_fault
from shipway.executors.process.jobs import read_job
from tests.fixtures.manifests import batch_job, changed, mpijob, tfjob

JOB = tfjob("j", {"Worker": "pass"})
POD = "spec.tfReplicaSpecs.Worker.template.spec"
CONTAINER = f"{POD}.containers.0"
MPI = mpijob("j", "pass")
BATCH = batch_job("j", "pass")


def plan(manifest: Manifest) -> Any:
    return read_job(manifest, base_name(manifest), 0, environments())


WRONG: dict[str, tuple[Manifest, str]] = {
    "no mapping": ([], r"manifest: expected a mapping, got \[\]"),  # type: ignore[dict-item]
    "kind": (changed(JOB, "kind", "TFjob"), r"kind: .* not play 'kubeflow.org/v1 TFjob'.*did you mean '.*TFJob'"),
    "version": (changed(JOB, "apiVersion", "kubeflow.org/v2"), r"kind: .* expected one of kubeflow.org/v1 TFJob"),
    "no spec": (changed(JOB, "spec", {}), r"spec\.tfReplicaSpecs: expected a Worker or Chief"),
    "unknown": (changed(JOB, "spec.runPolcy", {}), r"spec\.runPolcy: unknown field.*did you mean 'runPolicy'"),
    "role": (changed(JOB, "spec.tfReplicaSpecs.Wroker", {}), r"tfReplicaSpecs\.Wroker: unknown.*mean 'Worker'"),
    "restart policy": (changed(JOB, "spec.tfReplicaSpecs.Worker.restartPolicy", "onFailure"),
                       r"Worker\.restartPolicy: expected one of Never.*got 'onFailure' \(did you mean 'OnFailure'"),
    "clean policy": (changed(JOB, "spec.runPolicy.cleanPodPolicy", True),
                     r"cleanPodPolicy: expected a string, got True"),
    "success policy": (changed(JOB, "spec.successPolicy", "All"),
                       r"spec\.successPolicy: expected one of '', AllWorkers"),
    "backoff": (changed(JOB, "spec.runPolicy.backoffLimit", -1),
                r"backoffLimit: expected a whole number of at least 0"),
    "deadline": (changed(JOB, "spec.runPolicy.activeDeadlineSeconds", "1h"),
                 r"activeDeadlineSeconds: expected a whole"),
    "manager": (changed(JOB, "spec.runPolicy.managedBy", "kueue"),
                r"runPolicy\.managedBy: 'kueue' would play this job"),
    "dynamic": (changed(JOB, "spec.enableDynamicWorker", True), r"spec\.enableDynamicWorker: cannot be honoured"),
    "replicas": (changed(JOB, "spec.tfReplicaSpecs.Worker.replicas", 1.5),
                 r"Worker\.replicas: expected a whole number"),
    "no replicas": (changed(JOB, "spec.tfReplicaSpecs.Worker.replicas", 0),
                    r"expected a Worker or Chief with at least"),
    "chief and master": (tfjob("j", {"Chief": "1", "Master": "1"}), r"tfReplicaSpecs: Chief and Master together"),
    "two chiefs": (tfjob("j", {"Chief": (2, "1")}), r"tfReplicaSpecs\.Chief\.replicas: expected 1"),
    "container": (changed(JOB, f"{CONTAINER}.name", "main"), r"\[0\]\.name: expected one of tensorflow, got 'main'"),
    "image": (changed(JOB, f"{CONTAINER}.image", "python:3"),
              r"containers\[0\]\.image: no environment of this machine stands for image 'python:3'.*SHIPWAY_ENVIRON"),
    "command": (changed(JOB, f"{CONTAINER}.command", []), r"containers\[0\]\.command: missing; a process has no image"),
    "word": (changed(JOB, f"{CONTAINER}.args", ["--epochs", 3]),
             r"containers\[0\]\.args\[1\]: expected a string, got 3"),
    "working dir": (changed(JOB, f"{CONTAINER}.workingDir", "/app"),
                    r"containers\[0\]\.workingDir: cannot be honoured"),
    "hook": (changed(JOB, f"{CONTAINER}.lifecycle", {"preStop": {}}),
             r"containers\[0\]\.lifecycle: cannot be honoured"),
    "init": (changed(JOB, f"{POD}.initContainers", [{}]), r"template\.spec\.initContainers: cannot be honoured"),
    "volume": (changed(JOB, f"{POD}.volumes", [{"name": "data", "hostPath": {"path": "/"}}]),
               r"template\.spec\.volumes\[0\]: volume 'data' cannot be honoured.*object storage"),
    "scratch elsewhere": (changed(JOB, f"{CONTAINER}.volumeMounts", [{"name": "a", "mountPath": "/var/a"}]),
                          r"only /dev/shm, /tmp, /home/shipway can be honoured"),
    "mount": (changed(JOB, f"{CONTAINER}.volumeMounts", [{"mountPath": "/data"}]), r"mountPath: only /dev/shm"),
    "secret": (changed(JOB, f"{CONTAINER}.env", [{"name": "NOPE", "valueFrom": {"secretKeyRef": {"key": "k"}}}]),
               r"env\[0\]\.valueFrom\.secretKeyRef: there is no secret here; set NOPE in the environment"),
    "field": (changed(JOB, f"{CONTAINER}.env", [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "x.y"}}}]),
              r"env\[0\]\.valueFrom\.fieldRef\.fieldPath: 'x\.y' is not known here; expected one of metadata.name"),
    "value": (changed(JOB, f"{CONTAINER}.env", [{"name": "A", "value": 3}]),
              r"env\[0\]\.value: expected a string, got 3"),
    "no launcher": (changed(MPI, "spec.mpiReplicaSpecs", {"Worker": {}}), r"mpiReplicaSpecs\.Launcher: missing"),
    "no workers": (changed(MPI, "spec.mpiReplicaSpecs.Worker.replicas", 0), r"Worker\.replicas: expected at least 1"),
    "slots": (changed(MPI, "spec.slotsPerWorker", 0), r"spec\.slotsPerWorker: expected a whole number of at least 1"),
    "parallel": (changed(BATCH, "spec.parallelism", 2), r"spec\.parallelism: expected 1, got 2; use a TFJob"),
    "always": (changed(BATCH, "spec.template.spec.restartPolicy", "Always"),
               r"template\.spec\.restartPolicy: expected one of Never, OnFailure, got 'Always'"),
    "indexed": (changed(BATCH, "spec.backoffLimitPerIndex", 1), r"spec\.backoffLimitPerIndex: cannot be honoured"),
    "intel": (changed(changed(MPI, "apiVersion", "kubeflow.org/v2beta1"), "spec.mpiImplementation", "Intel"),
              r"spec\.mpiImplementation: expected one of OpenMPI, got 'Intel'"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(WRONG))
def test_a_wrong_manifest_is_refused_with_the_fields_path(case: str) -> None:
    manifest, message = WRONG[case]
    with pytest.raises(InvalidSpec, match=message) as caught:
        plan(manifest)
    assert "\n" not in str(caught.value)


def test_whole_numbers_that_became_floats_are_whole_numbers() -> None:
    made, _ = plan(changed(JOB, "spec.tfReplicaSpecs.Worker.replicas", 2.0))
    assert len(made.replicas) == 2


def test_an_image_under_another_registry_tag_or_digest_is_the_same_environment() -> None:
    moved = "mirror.local:5000/ml/" + images.TENSORFLOW.rsplit("/", 1)[1].split(":")[0] + "@sha256:" + "0" * 64
    made, _ = plan(changed(JOB, f"{CONTAINER}.image", moved))
    assert made.python == sys.executable


def test_environments_can_be_named_in_the_environment_or_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "env" / "bin").mkdir(parents=True)
    python = tmp_path / "env" / "bin" / "python"
    python.symlink_to(sys.executable)
    for given in (str(python), str(python.parent), str(tmp_path / "env")):
        monkeypatch.setenv(VARIABLE, json.dumps({"mine:1": given}))
        assert environments()["mine:1"] == python
    (tmp_path / "map.json").write_text(json.dumps({"mine:2": str(python)}))
    monkeypatch.setenv(VARIABLE, str(tmp_path / "map.json"))
    assert environments()["mine:2"] == python
    for wrong, message in (
        ("[1]", r"SHIPWAY_ENVIRONMENTS: \[1\]: No such file"),
        ("{", r"SHIPWAY_ENVIRONMENTS: not JSON"),
        ('{"a": 1}', r"SHIPWAY_ENVIRONMENTS: expected \{image: path"),
        ('{"a": "/nowhere"}', r"SHIPWAY_ENVIRONMENTS\['a'\]: no interpreter at /nowhere"),
    ):
        monkeypatch.setenv(VARIABLE, wrong)
        with pytest.raises(InvalidSpec, match=message):
            environments()


def test_a_command_beginning_with_python_is_played_with_the_environments_interpreter(tmp_path: Path) -> None:
    python = tmp_path / "python"
    assert resolve_command(["python", "-V"], python) == [str(python), "-V"]
    assert resolve_command(["python3", "-V"], python) == [str(python), "-V"]
    tool = tmp_path / "sh"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    assert resolve_command(["sh", "-c", "x"], python) == [str(tool), "-c", "x"]  # the environment's own come first
    assert resolve_command(["no-such-tool"], python) == ["no-such-tool"]


@pytest.mark.parametrize(
    "text",
    ["kill worker-1", "kill worker-1 when after with KILL", "kill worker-1 when started >= 2 with KILL",
     "kill worker when started with KILL", "kill worker-1 when started with NOPE", "drown worker-1 when started",
     "kill ps-0 when after>=1 of chief-0 with KILL"],
)  # fmt: skip
def test_a_fault_that_cannot_be_read_shows_what_one_looks_like(text: str) -> None:
    with pytest.raises(
        InvalidSpec, match=r"shipway.dev/fault.*cannot read.*expected, for example, 'kill worker-1 when"
    ):
        parse_fault(text)


FILES = {
    "missing": (None, r"nowhere\.yaml: no such file"),
    "not yaml": ("a: [", r"neither YAML nor JSON: "),
    "a key twice": ("apiVersion: v1\nkind: TFJob\nmetadata: {name: a}\nspec: {}\nkind: MPIJob\n",
                    r"the key 'kind' stands twice, in line 2 and in line 5; leave one of them"),
    "empty": ("", r"expected one manifest, got 0"),
    "two": ("a: 1\n---\nb: 2\n", r"expected one manifest, got 2; give each a file of its own"),
    "a list": ("- 1\n", r"expected a mapping with apiVersion, kind, metadata and spec, got \[1\]"),
    "no kind": ("apiVersion: v1\nmetadata: {name: a}\nspec: {}\n", r"kind: expected a string, got None"),
    "no spec": ("apiVersion: v1\nkind: TFJob\nmetadata: {name: a}\n", r"spec: expected a mapping, got None"),
    "no name": ("apiVersion: v1\nkind: TFJob\nmetadata: {}\nspec: {}\n", r"metadata\.name: expected a string"),
}  # fmt: skip


@pytest.mark.parametrize("case", list(FILES))
def test_a_file_that_is_no_manifest_is_refused_with_its_path(tmp_path: Path, case: str) -> None:
    text, message = FILES[case]
    path = tmp_path / "nowhere.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_manifest(path)
    assert str(path) in str(caught.value)


def test_run_manifest_plays_a_file_to_its_end(tmp_path: Path, local_store_uri: str) -> None:
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump(tfjob("from-file", {"Worker": "print('hello')"})))
    events: list[Event] = []
    assert run_manifest(path, on_event=events.append).state == "Succeeded"
    assert [event.kind for event in events][:2] == ["created", "started"]
