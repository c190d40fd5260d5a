"""The places where we reach into kfp.local, pinned to kfp 2.17.0 and held by a contract test.

kfp.local has no callbacks, keeps no record of a run, and starts a step so that it outlives whoever started it. So:
- `task_executor.execute_single_task` is wrapped: a task's start, end and cache hit become events and records;
- `enhanced_dag_orchestrator.execute_task` is wrapped, so that a task knows the DAGs that it stands in;
- `subprocess_task_handler.run_local_subprocess` is replaced: a step gets its own log, process group and
  parent-death signal, and knows its own name; its arguments are not on its command line, which everybody may read;
- `pipeline_spec_builder.to_protobuf_value` is wrapped: a parameter may hold null, as it may on Kubeflow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from shipway import deaths, modules, parents, references
from shipway.context import TASK, TITLE
from shipway.dag import Place
from shipway.local import executor
from shipway.local.folder import RunFolder

WATCH = "SHIPWAY_WATCH"  # path of the host's lock: a step that can take it has lost its host
# kfp starts a step from a shell that stays between us and Python, and dies of a signal before Python has cancelled its
# jobs; `exec` puts Python in the shell's place, where the signals, the parent-death one too, reach it.
_SHELL_CALL = "_KFP_RUNTIME=true "
_SHELL_EXEC = "export _KFP_RUNTIME=true; exec "
_MODULE = "kfp.dsl.executor_main"
_INPUT = "--executor_input"
STOP_GRACE_S = 15.0
REFUSED = 2  # the exit code of a UserError
UNFINISHED = 70  # EX_SOFTWARE: what kfp is told of a step that left by itself, with 0, before it was done

OnTask = Callable[[Place, str, dict[str, Any]], None]  # step, state, facts


class Inside(dict[str, Any]):
    """The components that kfp hands down from DAG to DAG, from thread to thread, and which DAGs these are."""

    path: tuple[str, ...] = ()


class Hooks:
    """Installed once per host process."""

    def __init__(self, folder: RunFolder, on_task: OnTask, *, fresh: bool = False) -> None:
        self._folder = folder
        self._fresh = fresh
        self._on_task = on_task
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._guard = threading.Lock()
        self._local = threading.local()
        self.stopping = False

    def install(self) -> None:
        """Puts the hooks in place."""
        from kfp.compiler import pipeline_spec_builder
        from kfp.local import cache, subprocess_task_handler
        from kfp.local.orchestrator import enhanced_dag_orchestrator, task_executor

        execute = task_executor.execute_single_task
        lookup, key_of = cache.LocalCache.get, cache.LocalCache.compute_key

        def get(store: Any, key: str) -> Any:
            cached = None if self._fresh else lookup(store, key)
            self._local.cached, self._local.key = cached is not None, key
            return cached

        def compute_key(
            store: Any, **parts: Any
        ) -> str:  # by what the arguments stand for: another secret, another key
            return str(key_of(store, **{**parts, "arguments": references.reveal_all(parts["arguments"])}))

        def execute_single_task(**arguments: Any) -> Any:
            step = Place.within((*getattr(arguments["components"], "path", ()), arguments["task_name"]))
            self._local.step, self._local.cached, self._local.key = step.name, False, None
            arguments["task_spec"] = _without_waiting(arguments["task_spec"])
            self._local.refused, self._local.code, self._local.oom_kills = False, None, None
            began = time.monotonic()
            self._local.title = arguments["task_spec"].task_info.name
            self._on_task(step, "Running", {})
            try:
                outputs, status = execute(**arguments)
            except BaseException as error:  # kfp's own, before or behind the step's process
                facts = {"seconds": round(time.monotonic() - began, 3), "error": f"{type(error).__name__}: {error}"}
                self._on_task(step, "Cancelled" if self.stopping else "Failed", facts)
                raise
            ended = "Cached" if self._local.cached else "Succeeded" if status.name == "SUCCESS" else "Failed"
            facts = {"seconds": round(time.monotonic() - began, 3), "cache_key": self._local.key}
            facts |= {"code": self._local.code, "oom_kills": self._local.oom_kills}
            self._on_task(step, "Cancelled" if ended == "Failed" and self.stopping else ended, facts)
            return outputs, status

        enhanced_dag_orchestrator.execute_task = _going_inside(enhanced_dag_orchestrator.execute_task)
        cache.LocalCache.get, cache.LocalCache.compute_key = get, compute_key
        pipeline_spec_builder.to_protobuf_value = _with_null(pipeline_spec_builder.to_protobuf_value)
        task_executor.execute_single_task = execute_single_task
        subprocess_task_handler.run_local_subprocess = self._run_subprocess

    def _run_subprocess(self, full_command: list[str], env_vars: dict[str, str] | None = None) -> int:
        step = self._local.step
        if self._local.refused:
            return REFUSED  # a user's mistake, or a stop, is not mended by trying again
        environment = {
            **modules.for_child(os.environ),
            **(env_vars or {}),
            TASK: step,
            TITLE: self._local.title,
            WATCH: str(self._folder.lock),
        }
        command, arguments = _without_arguments(full_command)
        environment[executor.INPUT] = str(arguments)
        self._local.oom_kills = deaths.oom_kills()
        with self._folder.task_log(step).open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
                preexec_fn=parents.dies_with(os.getpid(), signal.SIGTERM),
                pass_fds=[arguments],
            )
            with self._guard:
                self._running[process.pid] = process
                stopping = self.stopping
            if stopping:
                _signal_group(process, signal.SIGTERM)
            try:
                code = self._local.code = process.wait()
                self._local.refused = code == REFUSED or self.stopping
                is_done = code != 0 or os.fstat(arguments).st_size == 0
                return code if is_done else UNFINISHED
            finally:
                os.close(arguments)
                with self._guard:
                    del self._running[process.pid]
                _signal_group(process, signal.SIGKILL)  # whatever the step left behind

    def stop(self) -> None:
        """Ends the running steps: TERM, a grace in which they cancel their jobs, KILL."""
        with self._guard:
            self.stopping = True
            running = list(self._running.values())
        for process in running:
            _signal_group(process, signal.SIGTERM)
        deadline = time.monotonic() + STOP_GRACE_S
        while time.monotonic() < deadline and any(process.poll() is None for process in running):
            time.sleep(0.05)
        for process in running:
            if process.poll() is None:
                _signal_group(process, signal.SIGKILL)


def _going_inside(execute: Callable[..., Any]) -> Callable[..., Any]:
    """kfp's own way through a DAG; each DAG within notes its name."""

    def execute_task(**arguments: Any) -> Any:
        components, name = arguments["components"], arguments["task_spec"].component_ref.name
        if components[name].WhichOneof("implementation") == "dag":
            inner = arguments["components"] = Inside(components)
            inner.path = (*getattr(components, "path", ()), arguments["task_name"])
        return execute(**arguments)

    return execute_task


def _without_arguments(command: list[str]) -> tuple[list[str], int]:
    """A step's command without its input, and a descriptor from which it is read, and that is empty once it is done."""
    at = command.index(_INPUT)
    file = os.memfd_create("executor_input", os.MFD_CLOEXEC)
    with open(file, "w", encoding="utf-8", closefd=False) as writer:
        writer.write(command[at + 1])
    os.lseek(file, 0, os.SEEK_SET)
    kept = [*command[: at + 1], "{}", *command[at + 2 :]]
    changes = ((_SHELL_CALL, _SHELL_EXEC), (_MODULE, executor.__name__))
    for old, new in changes:
        kept = [part.replace(old, new) for part in kept]
    return kept, file


def _with_null(build: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """kfp's own values of parameters, and null within a JSON object, which Kubeflow takes and kfp.local refuses."""
    null = type(build(""))(null_value=0)  # protobuf's own Value, which kfp has imported

    def to_protobuf_value(value: Any) -> Any:
        return null if value is None else build(value)

    return to_protobuf_value


def _without_waiting(task_spec: Any) -> Any:
    """The task with its retries but without the pause between them, which is for a cluster's passing troubles."""
    task_spec = type(task_spec).FromString(task_spec.SerializeToString())
    task_spec.retry_policy.ClearField("backoff_duration")
    return task_spec


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
