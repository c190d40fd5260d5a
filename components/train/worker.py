"""One training replica: `python -m shipway.components.train.worker`.

Everything it needs stands in SHIPWAY_TRAINING (a `TrainingDocument`), TF_CONFIG or mpirun's environment, and
SHIPWAY_JOB. Exit codes: 0 done, 2 the user's mistake, 1 final, 143 worth another try (a lost peer).
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from shipway.termination import heed_sigterm

heed_sigterm(within_s=1.0)
# Before TensorFlow is imported, which reads them once.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from shipway.code.given import use_given
from shipway.errors import InvalidSpec, RetryableError, ShipwayError
from shipway.specs import parse
from shipway.training.rank import adopt_container_environment, place_in_cluster
from shipway.training.spec import DISTRIBUTED, FitSpec, TrainingDocument

if TYPE_CHECKING:
    from shipway.training.progress import Monitor

DOCUMENT = "SHIPWAY_TRAINING"
WORK = "SHIPWAY_WORK"


def main() -> int:
    """Trains, and as chief publishes; returns the exit code."""
    adopt_container_environment()
    try:
        use_given()
        document = _document()
        with tempfile.TemporaryDirectory(prefix="shipway-train-", dir=os.environ.get(WORK)) as folder:
            _run(document, Path(folder))
    except ShipwayError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


def _document() -> TrainingDocument:
    text = os.environ.get(DOCUMENT)
    if not text:
        raise InvalidSpec("is not set", field=DOCUMENT, fix="`shipway job run manifest.yaml` starts a worker with it")
    return parse(TrainingDocument, text, DOCUMENT)


def _run(document: TrainingDocument, work: Path) -> None:
    from shipway.recipes import FitsItself, load_recipe

    if document.spec.strategy == "parameter_server" and (place := place_in_cluster())[1] != "chief":
        _serve(document, *place)
    run = _run_own_fit if isinstance(load_recipe(document.spec.recipe), FitsItself) else _run_keras
    run(document, work)


def _run_own_fit(document: TrainingDocument, work: Path) -> None:
    """A model of any framework: TensorFlow is not imported, and need not be there."""
    from shipway.artifacts import DatasetManifest
    from shipway.storage import read_artifact
    from shipway.training.own_export import publish
    from shipway.training.own_fit import fit_itself
    from shipway.training.progress import LeaseWatch, Monitor, ProgressFile, TensorBoardLog, print_metrics
    from shipway.training.rank import share_of_this_process
    from shipway.training.usage import Usage

    output, share = document.output_uri, share_of_this_process()
    monitor = Monitor(progress=ProgressFile(), usage=Usage(output))
    is_chief = share.rank == 0
    if is_chief:
        monitor.metric_lines = print_metrics
        monitor.lease = LeaseWatch(output, document.lease_s) if output and document.lease_s else None
        monitor.tensorboard = TensorBoardLog(output) if output else None
    manifest = read_artifact(DatasetManifest, document.dataset_uri)
    trained, model = fit_itself(document.spec, manifest, work, output_uri=output, monitor=monitor, share=share)
    monitor.close()
    if is_chief and output is not None:
        published = publish(trained, model, work, output, os.environ.get("SHIPWAY_JOB", ""), document.image)
        print_metrics(trained.state.step, published.metrics)


def _serve(document: TrainingDocument, cluster: dict[str, list[str]], role: str, index: int) -> NoReturn:
    """A worker or ps of strategy parameter_server: it knows neither the recipe nor the rows."""
    if role == "ps":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # variables live in its memory
    _settle_threads(document.spec)
    from shipway.training.cluster_server import serve
    from shipway.training.usage import Usage

    Usage(document.output_uri)  # samples by itself, as long as this process lives
    try:
        serve(cluster, role, index, document.output_uri, document.spec.stall_timeout_s)
    except RetryableError as error:
        _leave(error)
    os._exit(0)


def _leave(error: RetryableError, monitor: Monitor | None = None) -> NoReturn:
    """Ends this process at once: TensorFlow's own end would call peers that are gone."""
    print(f"error: {error}", file=sys.stderr, flush=True)
    if monitor is not None and monitor.progress is not None:
        monitor.progress.close()
    os._exit(error.exit_code)


def _settle_threads(spec: FitSpec) -> None:
    """Replicas that share a machine's cores would otherwise each start a pool for all of them."""
    import tensorflow as tf

    if spec.strategy in DISTRIBUTED and not tf.config.list_physical_devices("GPU"):
        threads = max(1, (os.cpu_count() or 1) // spec.workers)
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(max(2, threads))


def _run_keras(document: TrainingDocument, work: Path) -> None:
    import numpy as np

    spec = document.spec
    _settle_threads(spec)
    from shipway.artifacts import DatasetManifest
    from shipway.storage import read_artifact
    from shipway.training.loop import fit
    from shipway.training.peers import LostPeer
    from shipway.training.progress import LeaseWatch, Monitor, ProgressFile, StallWatch, TensorBoardLog, print_metrics
    from shipway.training.strategies import open_distribution
    from shipway.training.usage import Usage

    monitor = Monitor(
        progress=ProgressFile(),
        stall=StallWatch(spec.stall_timeout_s, RetryableError.exit_code),
        usage=Usage(document.output_uri),
    )  # before the cluster forms: a peer that never comes is a stall too
    distribution = open_distribution(spec)
    output = document.output_uri
    if distribution.is_chief:
        monitor.metric_lines = print_metrics
        if output is not None:
            monitor.tensorboard = TensorBoardLog(output)
            monitor.lease = LeaseWatch(output, document.lease_s) if document.lease_s else None
    manifest = read_artifact(DatasetManifest, document.dataset_uri)
    try:
        fitted = fit(spec, manifest, work, output_uri=output, monitor=monitor, distribution=distribution)
    except LostPeer as error:
        if spec.strategy == "parameter_server":
            _leave(error, monitor)
        raise
    monitor.close()
    if distribution.is_chief and output is not None:
        from shipway.training.export import publish

        published = publish(fitted, work, output, os.environ.get("SHIPWAY_JOB", ""), document.image)
        print_metrics(fitted.state.step, published.metrics)
    distribution.sum(np.zeros(1))  # nobody leaves before the chief has published: its peers' end would abort it


if __name__ == "__main__":
    sys.exit(main())
