"""What the kubernetes executor costs on the test bed (docs/cluster-bed.md), which must be up: `make cluster`.

python -m benchmarks.cluster prints one JSON line: time to the first replica against `kubectl apply`, from a job's end
to its step's, requests and memory for following 1, 100 and 1,000 jobs on fake nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._cluster_fleet import follow
from shipway import executors
from shipway.context import Context
from shipway.executors import Manifest
from shipway.executors.kubernetes import KubernetesExecutor
from shipway.executors.kubernetes.api import Api
from shipway.executors.kubernetes.kinds import KINDS, PODS, kind_of
from shipway.executors.kubernetes.rendering import rendered

ROUNDS = 10
GOAL, END_GOAL_S = 1.1, 1.0
FLEETS = (1, 100, 1000)
IMAGE = "shipway.local/python:3.11"
CODE = "import time; time.sleep(1); print('done', flush=True)"
NOT_RUN = "skipped: no test bed is up (make cluster)"


def job(name: str) -> Manifest:
    """A TFJob of one replica that runs for a second."""
    container = {"name": "tensorflow", "image": IMAGE, "command": ["python", "-c", CODE]}
    template = {"spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}
    chief = {"replicas": 1, "restartPolicy": "Never", "template": template}
    spec = {"runPolicy": {"cleanPodPolicy": "None"}, "tfReplicaSpecs": {"Chief": chief}}
    return {"apiVersion": "kubeflow.org/v1", "kind": "TFJob", "metadata": {"name": name}, "spec": spec}


class Seen:
    """When things happened in a namespace, by a watch of its own and this process's clock."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._at = api, {}  # type: ignore[var-annotated]
        self._changed = threading.Condition()
        tfjobs = KINDS[("kubeflow.org/v1", "TFJob")]
        for kind, judge in ((PODS, _running), (tfjobs, _succeeded)):
            threading.Thread(target=self._watch, args=(kind.path(namespace), judge), daemon=True).start()

    def at(self, what: str, wait_s: float = 120.0) -> float:
        """When `what` was first seen: `running <job>`, `succeeded <job>`."""
        with self._changed:
            if not self._changed.wait_for(lambda: what in self._at, wait_s):
                raise TimeoutError(f"{what}: not seen within {wait_s:g} s")
            return float(self._at[what])

    def _watch(self, path: str, judge: Any) -> None:
        for change in self._api.watch(path, {"timeoutSeconds": "3600", "allowWatchBookmarks": "true"}):
            what, now = judge(change["object"]) if change["type"] != "BOOKMARK" else "", time.perf_counter()
            if what:
                with self._changed:
                    self._at.setdefault(what, now)
                    self._changed.notify_all()


def _running(pod: dict[str, Any]) -> str:
    name = (pod["metadata"].get("labels") or {}).get("training.kubeflow.org/job-name", "")
    return f"running {name}" if pod.get("status", {}).get("phase") == "Running" else ""


def _succeeded(item: dict[str, Any]) -> str:
    conditions = (item.get("status") or {}).get("conditions") or []
    is_done = any(each["type"] == "Succeeded" and each["status"] == "True" for each in conditions)
    return f"succeeded {item['metadata']['name']}" if is_done else ""


def applied(name: str, context: Context) -> Manifest:
    """What the executor makes of a job: labels, variables, the store's Secret."""
    made = job(name)
    return rendered(made, kind_of(made), context, 0, None, "")


def starts_and_ends(bed: Any, context: Context) -> tuple[dict[str, list[float]], list[float]]:
    """Seconds to the first running replica in rounds that take turns: by `ensure`, by `kubectl apply` of what `ensure`
    applies, and of the bare job; and from each job's end to the return of the `play` that followed it."""
    seen = Seen(Api(), context.namespace)
    executor = KubernetesExecutor(context)
    seconds: dict[str, list[float]] = {"ensure": [], "kubectl": [], "kubectl_bare": []}
    ends = []
    for number in range(ROUNDS + 1):
        ways = list(seconds)
        for way in ways[number % 3 :] + ways[: number % 3]:
            name = f"{way.replace('_', '-')}-{number}"
            made = job(name) if way == "kubectl_bare" else applied(name, context)
            began = time.perf_counter()
            if way == "ensure":
                executors.play(executor, job(name), backoff_limit=0)
                ends.append(time.perf_counter() - seen.at(f"succeeded {name}"))
            else:
                bed.kubectl("apply", "-n", context.namespace, "-f", "-", document=made)
            seconds[way].append(seen.at(f"running {name}") - began)
            seen.at(f"succeeded {name}")
    return {way: times[1:] for way, times in seconds.items()}, ends[1:]  # the first round finds caches cold


def step_s(context: Context) -> list[float]:
    """From a job's end to the exit of the process of the step: `shipway job run`, as a person types it."""
    seen, seconds = Seen(Api(), context.namespace), []
    command = str(Path(sys.executable).with_name("shipway"))
    environment = {**os.environ, "SHIPWAY_EXECUTOR": "kubernetes", "SHIPWAY_NAMESPACE": context.namespace,
                   "SHIPWAY_STORE": context.store_uri, "SHIPWAY_HOME": str(context.home)}  # fmt: skip
    for number in range(5):
        path = Path(context.home) / f"step-{number}.json"
        path.write_text(json.dumps(job(f"step-{number}")))
        subprocess.run([command, "job", "run", str(path)], env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - seen.at(f"succeeded step-{number}"))
    return seconds


@contextmanager
def namespace_of(bed: Any) -> Iterator[str]:
    """A namespace that goes with all that is in it."""
    name = f"bench-{uuid.uuid4().hex[:8]}"
    bed.kubectl("create", "namespace", name)
    bed.kubectl("wait", "--for=create", "serviceaccount/default", "-n", name, "--timeout=60s")
    try:
        yield name
    finally:
        bed.kubectl("delete", "namespace", name, "--wait=false")


@contextmanager
def team(bed: Any) -> Iterator[Context]:
    """A namespace and a folder as a store."""
    with tempfile.TemporaryDirectory() as folder, namespace_of(bed) as namespace:
        yield Context(
            home=Path(folder), store_uri=f"file://{folder}/store", run="bench", executor="kubernetes",
            namespace=namespace,
        )  # fmt: skip


def main(fleets: tuple[int, ...] = FLEETS) -> dict[str, Any]:
    """The benchmark's line; without a bed it says so, and the others' results count alone."""
    from tests.cluster import bed as beds

    line: dict[str, Any] = {"name": "cluster", "goal": GOAL, "baseline": "kubectl apply of the same manifest"}
    bed = beds.find()
    if bed is None:
        print(f"benchmarks.cluster: {NOT_RUN}", file=sys.stderr, flush=True)
        return {**line, "ratio": None, "meets_goal": None, "details": {"skipped": NOT_RUN}}
    os.environ["KUBECONFIG"] = str(bed.kubeconfig)
    with team(bed) as context:
        starts, ends = starts_and_ends(bed, context)
        steps = step_s(context)
    ratio = statistics.median(ours / theirs for ours, theirs in zip(starts["ensure"], starts["kubectl"], strict=True))
    followed = {}
    bed.add_fake_nodes(20)
    for jobs in fleets:
        followed[str(jobs)] = follow(jobs)
    is_met = ratio <= GOAL and statistics.median(steps) < END_GOAL_S
    is_met = is_met and all(each["requests_a_minute_at_most"] <= 1.0 for each in followed.values())
    return {
        **line,
        "ratio": round(ratio, 3),
        "meets_goal": is_met,
        "details": {
            "first_replica_s": {way: round(statistics.median(times), 3) for way, times in starts.items()},
            "rounds": ROUNDS,
            "from_jobs_end_s": {
                "to_plays": [round(each, 3) for each in sorted(ends)],
                "to_the_commands_exit": [round(each, 3) for each in sorted(steps)],
            },
            "followed": followed,
        },
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cluster", description=__doc__)
    parser.add_argument("--jobs", type=int, nargs="+", default=FLEETS, help="fleets to follow")
    print(json.dumps(main(tuple(parser.parse_args().jobs)), sort_keys=True))
