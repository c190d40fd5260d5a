"""One replica of a training whose code is a function: `python -m shipway.functions.replica`.

What it is to do stands in SHIPWAY_FUNCTION (a `FunctionDocument`), its place in TF_CONFIG or mpirun's environment.
Exit codes: 0 done, 2 the function raised or was called wrongly, 75 its step is gone, 143 a lost peer: try again.
"""

from __future__ import annotations

import glob
import inspect
import json
import os
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from shipway.code.given import use_given
from shipway.errors import LeaseLapsed, ShipwayError, UserError, one_line
from shipway.functions.context import TrainingContext
from shipway.functions.declared import CONTEXT
from shipway.functions.kept import KeptFolder
from shipway.functions.reporting import Reporter, finite, metrics_of, reporting
from shipway.functions.spec import FunctionDocument
from shipway.objects import raised_at
from shipway.specs import parse
from shipway.termination import heed_sigterm
from shipway.training.rank import RANK, adopt_container_environment

DOCUMENT = "SHIPWAY_FUNCTION"
RESULT = "result.json"
LOCAL_RANK = "OMPI_COMM_WORLD_LOCAL_RANK"


class FunctionFailed(UserError):
    """The function raised: its own line says why, the log holds the traceback."""


def main() -> int:
    """Calls the function, and as chief writes what it gave; returns the exit code."""
    heed_sigterm(within_s=1.0)
    adopt_container_environment()
    try:
        use_given()
        document = parse(FunctionDocument, os.environ.get(DOCUMENT, ""), DOCUMENT)
        with tempfile.TemporaryDirectory(prefix="shipway-function-", dir=os.environ.get("SHIPWAY_WORK")) as folder:
            _run(document, Path(folder))
    except ShipwayError as error:
        print(f"error: {one_line(error)}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def _run(document: FunctionDocument, work: Path) -> None:
    from shipway.functions.calling import load, seed
    from shipway.functions.data import fetch
    from shipway.training.usage import Usage

    _settle_devices(document)
    context = TrainingContext(
        folder=work / "folder",
        rank=_rank(),
        workers=document.workers,
        strategy=document.strategy,
        data={name: fetch(name, uri, work / "data") for name, uri in document.data.items()},
        seed=document.seed,
        restart=int(os.environ.get("SHIPWAY_RESTART", "0")) + int(os.environ.get("SHIPWAY_ATTEMPT", "0")),
    )
    context.folder.mkdir()
    kept = KeptFolder(context.folder, document.output_uri)
    restored = kept.restore(context.rank, context.workers)
    if restored:
        print(f"goes on with {restored} files that an earlier start had left", flush=True)
    if context.is_chief:
        context._keep = kept.keep
        kept.start()
        if document.lease_s:
            threading.Thread(target=_heed_lease, args=(document, kept), daemon=True).start()
    seed(document.seed)
    began, usage = time.monotonic(), Usage(document.output_uri)
    metrics, history = _call(load(document.function), document, context)
    usage.close()
    if context.is_chief:
        kept.close()
        result = {"metrics": finite(metrics), "history": history, "seconds": round(time.monotonic() - began, 3)}
        kept.store.put(RESULT, json.dumps(result).encode())
    kept.end()


def _call(function: Any, document: FunctionDocument, context: TrainingContext) -> tuple[dict[str, float], Any]:
    """What the function gave, as metrics, and what it reported on its way; a training may give none.

    Raises:
        LostPeer: another worker went away.
        FunctionFailed: it raised.
    """
    from shipway.training.events import EventFile
    from shipway.training.progress import ProgressFile, print_metrics

    progress = ProgressFile()
    events: list[EventFile] = []

    def tell(step: int, metrics: dict[str, float]) -> bool:
        progress.write(step=step, interval=True, **finite(metrics))
        if context.is_chief:
            print_metrics(step, metrics)
            events[:] = events or [EventFile(context.logs)]
            events[0].write(step, metrics)
        return True

    more = {CONTEXT: context} if CONTEXT in inspect.signature(function).parameters else {}
    name = document.function.rpartition(":")[2]
    with reporting(Reporter(tell)) as reporter:
        try:
            result = function(**document.params, **more)
        except ShipwayError:
            raise
        except (Exception, SystemExit) as error:
            _raise_lost_peer(error, document.workers)
            traceback.print_exc()
            raise FunctionFailed(f"{name} raised {type(error).__name__}: {error}{raised_at(error)}") from error
    return metrics_of(result, name, reporter.last), reporter.history


def _raise_lost_peer(error: BaseException, workers: int) -> None:
    """A peer that went away is no mistake of the function's; only TensorFlow's errors can say so."""
    if "tensorflow" in sys.modules:
        from shipway.training.peers import lost_peer

        if (lost := lost_peer(error, workers)) is not None:
            raise lost from error


def _rank() -> int:
    if RANK in os.environ:
        return int(os.environ[RANK])
    config = json.loads(os.environ.get("TF_CONFIG") or "{}")
    task = config.get("task", {})
    chiefs = len(config.get("cluster", {}).get("chief", []))
    return int(task.get("index", 0)) + (chiefs if task.get("type") == "worker" else 0)


def _settle_devices(document: FunctionDocument) -> None:
    """Before TensorFlow is imported, which reads them once."""
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    gpus = len(glob.glob("/dev/nvidia[0-9]*"))
    if document.strategy == "horovod" and gpus and LOCAL_RANK in os.environ:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", str(int(os.environ[LOCAL_RANK]) % gpus))
    if document.workers > 1 and not gpus:
        # Replicas that share a machine's cores would otherwise each start a pool for all of them.
        threads = max(1, (os.cpu_count() or 1) // document.workers)
        os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))
        os.environ.setdefault("TF_NUM_INTEROP_THREADS", str(max(2, threads)))


def _heed_lease(document: FunctionDocument, kept: KeptFolder) -> None:
    """Ends this process when the step that started the job is gone; what was kept last stands."""
    from shipway.training.progress import LeaseWatch

    LeaseWatch(document.output_uri, document.lease_s).lapsed.wait()
    print(f"error: {LeaseLapsed('the step that started this training is gone')}", file=sys.stderr, flush=True)
    os._exit(LeaseLapsed.exit_code)


if __name__ == "__main__":
    sys.exit(main())
