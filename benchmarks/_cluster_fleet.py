"""Follows so many jobs in a process of its own, whose memory is then theirs: `... benchmarks._cluster_fleet 100`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any

WAIT_S = 130.0  # two minutes in which nothing happens: a list or a new watch in each would show


def follow(jobs: int) -> dict[str, Any]:
    """What a process of its own measured."""
    command = [sys.executable, "-m", "benchmarks._cluster_fleet", str(jobs)]
    done = subprocess.run(command, env=os.environ, check=True, stdout=subprocess.PIPE, text=True)
    line: dict[str, Any] = json.loads(done.stdout)
    return line


class OwnAccount:
    """A service account that only this process uses, so that the API server's own metrics tell its requests apart: by
    a FlowSchema of its name, whoever else asks meanwhile."""

    def __init__(self, bed: Any, namespace: str) -> None:
        self.name, self._kubectl = namespace, bed.kubectl
        self._kubectl("create", "serviceaccount", "bench", "-n", namespace)
        self._kubectl("create", "clusterrolebinding", namespace, "--clusterrole=cluster-admin",
                      f"--serviceaccount={namespace}:bench")  # fmt: skip
        subject = {"kind": "ServiceAccount", "serviceAccount": {"name": "bench", "namespace": namespace}}
        every = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
        rule = {"subjects": [subject], "resourceRules": [every]}
        level = {"priorityLevelConfiguration": {"name": "workload-high"}, "matchingPrecedence": 100, "rules": [rule]}
        kind = {"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": "FlowSchema"}
        self._kubectl.apply(document={**kind, "metadata": {"name": namespace}, "spec": level})

    def client(self) -> Any:
        """A connection as this account."""
        from shipway.executors.kubernetes.api import connected

        own = connected()
        token = self._kubectl("create", "token", "bench", "-n", self.name, "--duration=2h").strip()
        own.configuration.api_key = {"authorization": f"Bearer {token}"}
        own.configuration.cert_file = own.configuration.key_file = None
        return type(own)(own.configuration)

    def served(self, api: Any) -> int:
        """Requests of this account that the server has begun, by its own count."""
        from tests.fixtures.follow_many import series

        samples = series(api, "apiserver_flowcontrol_dispatched_requests_total")
        return int(sum(value for labels, value in samples if labels["flow_schema"] == self.name))

    def close(self) -> None:
        """Takes away what lies outside the namespace."""
        self._kubectl("delete", "flowschema", self.name, "--ignore-not-found")
        self._kubectl("delete", "clusterrolebinding", self.name, "--ignore-not-found")


def measure(jobs: int) -> dict[str, Any]:
    """Requests, by client and server, and memory, while so many jobs are waited for, and when they end."""
    from benchmarks.cluster import team
    from shipway.executors.kubernetes import KubernetesExecutor
    from tests.cluster import bed as beds
    from tests.fixtures.follow_many import Fleet, NotingApi, counted, resident_kib

    bed = beds.find()
    assert bed is not None
    with team(bed) as context:
        account = OwnAccount(bed, context.namespace)
        try:
            api, other = NotingApi(account.client), NotingApi()
            began = time.perf_counter()
            fleet = Fleet(KubernetesExecutor(context, api), jobs)
            ensured_s = time.perf_counter() - began
            served, memory, since = account.served(other), resident_kib(), time.perf_counter()
            with counted(api) as waiting:
                fleet.follow()
                fleet.await_running(other)
                running_s = time.perf_counter() - began
                time.sleep(WAIT_S)
                cpu = time.process_time()
                time.sleep(10)
                cpu = (time.process_time() - cpu) / 10
                used, counts = resident_kib(), account.served(other) - served
                waited_s = time.perf_counter() - since
            began = time.perf_counter()
            with counted(api) as ending:
                fleet.finish(other)
            ended_s = time.perf_counter() - began
        finally:
            account.close()
        states = {outcome.state for _, outcome in fleet.outcomes}
        assert states == {"Succeeded"}, states
        # The first list and watch of each kind begin the wait; what is asked again is what a long wait costs.
        again = max((count - 1) * 60 / waited_s for count in waiting.values())
        return {
            "requests_while_waiting": dict(waiting),
            "by_the_servers_count": counts,
            "requests_a_minute_at_most": round(again, 2),
            "requests_at_the_end_per_job": round(ending.total() / jobs, 2),
            "ensure_s": round(ensured_s, 1),
            "all_running_s": round(running_s, 1),
            "all_ended_s": round(ended_s, 1),
            "waited_s": round(waited_s),
            "cores_while_waiting": round(cpu, 3),
            "resident_mib": round(used / 1024, 1),
            "kib_per_job": round((used - memory) / jobs, 1),
        }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
