"""What a replica used while it trained: CPU, memory, GPUs, and how long its steps waited for their input."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections import defaultdict

from shipway import machine
from shipway.artifacts.training import GpuUsage, ReplicaUsage, Spread
from shipway.errors import ShipwayError
from shipway.storage import open_folder
from shipway.training import processes
from shipway.training.nvml import Gpus

SAMPLE_S = 5.0
KEEP_S = 30.0
TOO_LONG = 1 / 3  # of its steps' time, waited for input
FOLDER = "usage"  # of a job: one object for each replica


class InputClock:
    """The share of its steps' time in which a training waited for the next batch.

    A step's wait is measured within the step itself (`shipway.training.measure.make_step`). Its first one is left out:
    tracing takes the time, and buffers are empty.
    """

    def __init__(self) -> None:
        self.stepping_s = self.waited_s = 0.0
        self._last: float | None = None

    def pause(self) -> None:
        """What comes until `go` is no step's: another beginning, with a trace of its own."""
        self._last = None

    def go(self, now: float) -> None:
        """Steps follow, as an evaluation has ended."""
        self._last = now

    def step(self, now: float, waited_s: float) -> None:
        """A step has ended."""
        if self._last is not None:
            self.stepping_s += now - self._last
            self.waited_s += min(waited_s, now - self._last)
        self._last = now

    @property
    def share(self) -> float | None:
        """None where nothing was measured."""
        return self.waited_s / self.stepping_s if self.stepping_s > 0 else None


class Usage:
    """Samples this process and its children until it is closed, and keeps a summary in the job's folder.

    Args:
        output_uri: `jobs/<job>`; None keeps nothing.
        replica: Its name; that of the environment.
        every_s: Between two samples.
    """

    def __init__(self, output_uri: str | None, replica: str = "", every_s: float = SAMPLE_S) -> None:
        self.input = InputClock()
        self.how = ""  # batches come: `memory` or `stream`
        self.replica = replica or os.environ.get("SHIPWAY_REPLICA") or "chief-0"
        self._output_uri, self._every_s = output_uri, every_s
        self._gpus = Gpus()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._values: dict[str, list[float]] = defaultdict(list)
        self._gpu_bytes: dict[int, int] = {}
        self._began = self._at = time.monotonic()
        self._cpu_began = self._cpu = processes.used(processes.tree(os.getpid()))[0]
        self._kept = self._began
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Takes a last sample, and keeps the summary; nothing the second time."""
        if not self._ended.is_set():
            self._ended.set()
            self._thread.join(timeout=10)
            self._sample()
            self._keep()

    def summary(self) -> ReplicaUsage:
        """What was measured so far."""
        with self._lock:
            values = {name: Spread.of(each) for name, each in self._values.items()}
            nothing, seconds = Spread(mean=0.0, peak=0.0), max(self._at - self._began, 1e-9)
            cores = (self._cpu - self._cpu_began) / seconds
            return ReplicaUsage(
                replica=self.replica,
                seconds=round(self._at - self._began, 1),
                cpu_cores=Spread(mean=cores, peak=max(values.get("cpu", nothing).peak, cores)),
                cpu_limit=machine.cpu_limit(),
                memory_bytes=values.get("memory", nothing),
                memory_limit_bytes=machine.memory_limit(),
                gpus=[
                    GpuUsage(index=index, use=values[f"gpu{index}"], memory_bytes=values[f"gpu{index} bytes"],
                             memory_limit_bytes=total)
                    for index, total in sorted(self._gpu_bytes.items())
                ],
                waited_for_input=None if self.input.share is None else round(self.input.share, 4),
                input=self.how,
            )  # fmt: skip

    def _watch(self) -> None:
        while not self._ended.wait(self._every_s):
            self._sample()
            if time.monotonic() - self._kept >= KEEP_S:
                self._keep()

    def _sample(self) -> None:
        now = time.monotonic()
        cpu, resident = processes.used(processes.tree(os.getpid()))
        gpus = self._gpus.sample()
        with self._lock:
            if now - self._at >= min(self._every_s, 1.0) / 2:  # clock ticks are coarse
                self._values["cpu"].append(max(cpu - self._cpu, 0.0) / (now - self._at))
            self._cpu, self._at = max(cpu, self._cpu), now
            self._values["memory"].append(float(resident))
            for gpu in gpus:
                self._values[f"gpu{gpu.index}"].append(gpu.use)
                self._values[f"gpu{gpu.index} bytes"].append(float(gpu.used_bytes))
                self._gpu_bytes[gpu.index] = gpu.total_bytes

    def _keep(self) -> None:
        self._kept = time.monotonic()
        if self._output_uri is None:
            return
        try:
            data = self.summary().model_dump_json().encode()
            open_folder(self._output_uri).put(f"{FOLDER}/{self.replica}.json", data)
        except ShipwayError as error:  # a training lacks nothing without it
            print(f"shipway: usage of {self.replica} not kept: {error}", file=sys.stderr, flush=True)


def kept(output_uri: str) -> list[ReplicaUsage]:
    """What the replicas of a job left, the chief first; empty where the store does not answer."""
    found = []
    try:
        store = open_folder(f"{output_uri}/{FOLDER}")
        for info in store.list():
            found.append(ReplicaUsage.model_validate(json.loads(store.get(info.key))))
    except (ShipwayError, ValueError) as error:
        print(f"shipway: usage of replicas not read: {error}", file=sys.stderr, flush=True)
    return sorted(found, key=lambda usage: (not usage.replica.startswith("chief"), _number(usage.replica)))


def _number(replica: str) -> tuple[str, int]:
    role, _, number = replica.rpartition("-")
    return role, int(number) if number.isdecimal() else 0


def in_short(usage: ReplicaUsage) -> dict[str, float | str | None]:
    """What a step's record tells of a replica."""
    told: dict[str, float | str | None] = {
        "replica": usage.replica,
        "cpu_cores_mean": round(usage.cpu_cores.mean, 2),
        "cpu_cores_peak": round(usage.cpu_cores.peak, 2),
        "memory_peak_mb": round(usage.memory_bytes.peak / 2**20),
        "waited_for_input": usage.waited_for_input,
    }
    for gpu in usage.gpus:
        told[f"gpu_{gpu.index}_mean"] = round(gpu.use.mean, 2)
        told[f"gpu_{gpu.index}_memory_peak_mb"] = round(gpu.memory_bytes.peak / 2**20)
    return told


def hint(usages: list[ReplicaUsage], *, cpu: str, memory_limit_mb: int) -> str:
    """What to change where steps wait for input above a third of their time; empty where they do not.

    Args:
        usages: Of a job's replicas.
        cpu: The spec's `resources.cpu`.
        memory_limit_mb: The spec's.
    """
    waits = {usage.replica: usage.waited_for_input or 0.0 for usage in usages}
    slowest = max(usages, key=lambda usage: waits[usage.replica], default=None)
    if slowest is None or waits[slowest.replica] <= TOO_LONG:
        return ""
    more = f"raise training.resources.cpu (now {cpu}): batches are made by the cores that also train"
    if slowest.input == "stream":
        fits = f"training.input: memory keeps the rows in memory (training.memory_limit_mb is {memory_limit_mb})"
        more = f"{fits}, or {more}"
    return f"{slowest.replica} waited for input {100 * waits[slowest.replica]:.0f} % of the time: {more}"
