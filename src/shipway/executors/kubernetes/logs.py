"""The lines of all replicas: from their pods, and from object storage once these are gone."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from shipway.context import Context
from shipway.errors import ShipwayError
from shipway.executors.base import Handle, LogLine
from shipway.executors.kubernetes.api import Api, ApiError, explain
from shipway.executors.kubernetes.kinds import PODS, SERVICE
from shipway.executors.kubernetes.rendering import JOB
from shipway.executors.kubernetes.states import LAST_LINES, PodState, pod_state

KEPT_BYTES = 4 << 20  # of each replica, its last
SIDE_BY_SIDE = 8
LOOK_S = 1.0
_DONE = object()


def read(api: Api, context: Context, handle: Handle, *, replica: str | None, follow: bool) -> Iterator[LogLine]:
    """Lines of every replica, or of one; with `follow` as they come, until the job has no pods that run."""
    if follow:
        yield from _followed(api, handle, replica)
        return
    kept = [line for line in _kept(context, handle) if replica in (None, line.replica)]
    if kept:  # it has ended, and what was kept holds the starts whose pods were replaced too
        yield from kept
        return
    for pod in _pods(api, handle):
        if replica in (None, pod.replica):
            yield from _of_pod(api, handle, pod)


def keep(
    api: Api,
    context: Context,
    handle: Handle,
    earlier: Mapping[tuple[str, int], tuple[str, ...]] | None = None,
    *,
    known: list[PodState] | None = None,
    to_the_end: bool = False,
) -> None:
    """Copies the end of each replica's log to `jobs/<job>/logs/`, where it outlives the pods.

    Args:
        earlier: The last lines of starts whose pods were replaced, by replica and restart.
        known: The job's pods, where a follower knows them; else they are asked for.
        to_the_end: Of pods that are being ended, too: waits for them.
    """
    from shipway.storage import Store

    def copy(pod: PodState) -> None:
        replica = pod.replica
        lines = [
            [number, text]
            for (name, number), kept in sorted((earlier or {}).items())
            if name == replica
            for text in kept
        ]
        replaced = 1 + max((number for name, number in earlier or {} if name == replica), default=-1)
        lines += [[line.restart + replaced, line.text] for line in _of_pod(api, handle, pod, follow=to_the_end)]
        if lines:
            text = "\n".join(json.dumps(line, ensure_ascii=False) for line in lines)
            store.put(f"jobs/{handle.name}/logs/{replica}.jsonl", text.encode())

    try:
        store = Store.open(context.store_uri)
        pods = _pods(api, handle) if known is None else known
        with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
            list(pool.map(copy, pods))
    except ShipwayError:
        return  # a log that could not be copied is no reason to fail a job that has ended


def last_lines(api: Api, handle: Handle, replica: str) -> list[str]:
    """The last lines of a replica that still runs; none where there is no such pod."""
    try:
        for pod in _pods(api, handle):
            if pod.replica == replica:
                path = PODS.path(handle.namespace, pod.pod) + "/log"
                query = {"tailLines": str(LAST_LINES), "container": pod.container}
                return list(api.lines(path, query))
    except ShipwayError:
        pass
    return []


def _pods(api: Api, handle: Handle) -> list[PodState]:
    label = f"serving.kserve.io/inferenceservice={handle.name}" if handle.kind == SERVICE else f"{JOB}={handle.name}"
    try:
        items = api.get(PODS.path(handle.namespace), labelSelector=label)["items"]
    except ApiError as error:
        raise explain(error, f"pods of {handle.kind} {handle.name}", handle.namespace) from error
    return sorted((pod_state(item) for item in items), key=lambda pod: (pod.replica, pod.pod))


def _of_pod(api: Api, handle: Handle, pod: PodState, *, follow: bool = False) -> Iterator[LogLine]:
    path = PODS.path(handle.namespace, pod.pod) + "/log"
    for start in (pod.start - 1, pod.start):
        if start < 0:
            continue
        query = {"container": pod.container, "limitBytes": str(KEPT_BYTES)}
        if start < pod.start:
            query["previous"] = "true"
        elif follow:
            query = {"container": pod.container, "follow": "true"}
        try:
            for line in api.lines(path, query):
                yield LogLine(pod.replica, _shown(line), start)
        except ApiError as error:
            if error.status == 403:
                raise explain(error, f"log of pod {pod.pod}", handle.namespace) from error
            continue  # it has not started, or is just being taken away


def _kept(context: Context, handle: Handle) -> Iterator[LogLine]:
    from shipway.storage import Store

    try:
        store = Store.open(context.store_uri)
        for file in list(store.list(f"jobs/{handle.name}/logs/")):
            replica = file.key.rpartition("/")[2].removesuffix(".jsonl")
            for line in store.get(file.key).decode("utf-8", "replace").split("\n"):
                restart, text = json.loads(line)
                yield LogLine(replica, text, restart)
    except (ShipwayError, ValueError):
        return


def _followed(api: Api, handle: Handle, replica: str | None) -> Iterator[LogLine]:
    """One thread for each container's stream; new pods are looked for as long as there are any that run."""
    lines: queue.SimpleQueue[Any] = queue.SimpleQueue()
    streams: dict[tuple[str, int], threading.Thread] = {}

    def stream(pod: PodState) -> None:
        query = {"container": pod.container, "follow": "true"}
        try:
            for line in api.lines(PODS.path(handle.namespace, pod.pod) + "/log", query):
                lines.put(LogLine(pod.replica, _shown(line), pod.start))
        except ApiError as error:
            if error.status == 403:
                lines.put(explain(error, f"log of pod {pod.pod}", handle.namespace))
        lines.put(_DONE)

    while True:
        pods = [pod for pod in _pods(api, handle) if replica in (None, pod.replica)]
        for pod in pods:
            key = (pod.uid, pod.start)
            if key not in streams and pod.phase != "Pending" and not pod.waiting:
                streams[key] = threading.Thread(target=stream, args=(pod,), daemon=True)
                streams[key].start()
        until = time.monotonic() + LOOK_S
        while (left := until - time.monotonic()) > 0:
            try:
                line = lines.get(timeout=left)
            except queue.Empty:
                break
            if isinstance(line, ShipwayError):
                raise line
            if line is not _DONE:
                yield line
        if not any(pod.phase in ("Pending", "Running") for pod in pods):
            for thread in streams.values():
                thread.join(timeout=5)
            while not lines.empty():
                if (line := lines.get()) is not _DONE:
                    yield line
            return


def _shown(text: str) -> str:
    """A progress bar's last state, as the process executor's logs have it."""
    return text.rstrip("\r").rpartition("\r")[2]
