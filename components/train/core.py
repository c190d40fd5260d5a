"""A TrainingSpec as a custom resource: TFJob, or MPIJob for Horovod. A pure function: it can be tested by eye."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shipway import images, labels, podsecurity
from shipway.canonical import canonical_json
from shipway.code.given import GIVEN
from shipway.components.train.spec import FunctionSpec, Group, PodResources, TrainingSpec, check_resources
from shipway.context import Context
from shipway.errors import InvalidSpec
from shipway.executors.process.environments import environments
from shipway.functions.spec import FunctionDocument
from shipway.recipes import FitsItself, load_recipe
from shipway.recipes.own_fit import own_image
from shipway.training.choosing import chosen
from shipway.training.spec import FitSpec, TrainingDocument, check_training

Manifest = dict[str, Any]
Spec = TrainingSpec | FunctionSpec

WORKER = ["python", "-m", "shipway.components.train.worker"]
CALLER = ["python", "-m", "shipway.functions.replica"]
API_VERSION = "kubeflow.org/v1"
FINISHED_AFTER_S = 3600  # of a job object that nobody told how long to stay


def _kf() -> Any:
    """kubeflow-training's models; imported late, since they bring the kubernetes client with them."""
    from kubeflow.training import models

    return models


def document(spec: TrainingSpec, dataset_uri: str, output_uri: str | None) -> TrainingDocument:
    """What each replica is started with: nothing of how the job runs: a longer deadline is no other training.

    Raises:
        InvalidSpec: a parameter that the recipe refuses, or a training that it cannot do.
    """
    check_training(spec)
    fields = {name: value for name, value in spec.model_dump().items() if name in FitSpec.model_fields}
    fields["params"] = spec.recipe_params().model_dump(mode="json")  # the UI's floats become what the recipe says
    return TrainingDocument(
        spec=FitSpec.model_validate(fields),
        dataset_uri=dataset_uri,
        output_uri=output_uri,
        lease_s=spec.lease_s,
        image=image_of(spec),
    )


def as_chosen(spec: TrainingSpec, among: Sequence[str] = ()) -> tuple[TrainingSpec, str]:
    """The training with a strategy, one of `among`, and workers where `auto` left them open, and what to say of it.

    Raises:
        InvalidSpec: it has no such workers, or no such groups of replicas.
    """
    asked = spec.strategy, spec.workers
    is_here = Context.current().executor == "process" and not _foreign_image(spec)
    strategy, workers, why = chosen(spec, spec.resources.of("chief").gpu, is_here=is_here, among=among)
    try:
        check_resources(strategy, spec.resources)
    except ValueError as error:
        raise InvalidSpec(str(error), field="training") from error
    if (strategy, workers) == asked:
        return spec, ""
    several = f"{workers} worker{'s' if workers != 1 else ''}"
    told = f"strategy auto: {strategy}, {several}: {why}" if why else ""
    return spec.model_copy(update={"strategy": strategy, "workers": workers}), told


def image_of(spec: Spec) -> str:
    """The image that the strategy needs, unless the spec names one, or else the recipe."""
    return _foreign_image(spec) or (images.HOROVOD if spec.strategy == "horovod" else images.TENSORFLOW)


def runs_here(spec: Spec) -> bool:
    """Whether replicas run in the environment that the run is started from, which stands for most images."""
    here = Path(sys.executable)
    return Context.current().executor == "process" and environments().get(image_of(spec), here) == here


def _foreign_image(spec: Spec) -> str:
    """Of a person's own; empty where the package's is used."""
    return spec.image or (own_image(load_recipe(spec.recipe)) if isinstance(spec, TrainingSpec) else "")


def _annotations(spec: Spec) -> dict[str, str]:
    """Of the job object."""
    annotations = {labels.MISTAKES_ARE_FINAL: "true"}
    if isinstance(spec, TrainingSpec):
        recipe = load_recipe(spec.recipe)
        if own_image(recipe) or (spec.image and isinstance(recipe, FitsItself)):
            annotations[labels.RECIPE_IMAGE] = image_of(spec)
    return annotations


def render(
    spec: TrainingSpec, job_name: str, dataset_uri: str, *, store_uri: str, output_uri: str | None = None
) -> Manifest:
    """The manifest of a training job.

    Args:
        spec: The training.
        job_name: DNS-1035 name, at most 40 characters.
        dataset_uri: Folder of the dataset.
        store_uri: Root of the store, handed to each replica as SHIPWAY_STORE.
        output_uri: Where checkpoints, records and the model go; None: `jobs/<job_name>` in the store.

    Returns:
        A TFJob with a chief, `workers - 1` workers and, with strategy parameter_server, the ps; or an MPIJob with a
        launcher and `workers` workers.
    """
    spec, _ = as_chosen(spec)
    target = output_uri or f"{store_uri}/jobs/{job_name}"
    given = {"SHIPWAY_TRAINING": canonical_json(document(spec, dataset_uri, target))}
    return _job(spec, job_name, WORKER, given, store_uri)


def render_function(spec: FunctionSpec, job_name: str, *, store_uri: str) -> Manifest:
    """The manifest of a job that calls a function of a person's own in each replica.

    Args:
        spec: The function, and how its job runs.
        job_name, store_uri: As for `render`.
    """
    asked = FunctionDocument(
        function=spec.function, params=spec.params, data=spec.data, strategy=spec.strategy,
        workers=spec.workers, seed=spec.seed, output_uri=f"{store_uri}/jobs/{job_name}", lease_s=spec.lease_s,
    )  # fmt: skip
    return _job(spec, job_name, CALLER, {"SHIPWAY_FUNCTION": canonical_json(asked)}, store_uri)


def _job(spec: Spec, job_name: str, command: list[str], given: dict[str, str], store_uri: str) -> Manifest:
    environment = {
        **given,
        "SHIPWAY_STORE": store_uri,
        "TF_USE_LEGACY_KERAS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
    }
    if spec.code:
        environment[GIVEN] = spec.code
    build = _mpijob if spec.strategy == "horovod" else _tfjob
    return _plain(build(spec, job_name, command, environment))


def _tfjob(spec: Spec, job_name: str, command: list[str], environment: dict[str, str]) -> Any:
    kf = _kf()

    def replicas(count: int, group: Group) -> Any:
        return kf.KubeflowOrgV1ReplicaSpec(
            replicas=count,
            # 128-255 are tried again (a lost peer, a killed pod), everything else is final.
            restart_policy="ExitCode",
            template=_pod(spec, "tensorflow", command, environment, spec.resources.of(group)),
        )

    roles = {"Chief": replicas(1, "chief")}
    if spec.workers > 1:
        roles["Worker"] = replicas(spec.workers - 1, "worker")
    if servers := _servers(spec):
        roles["PS"] = replicas(servers, "ps")
    return kf.KubeflowOrgV1TFJob(
        api_version=API_VERSION,
        kind="TFJob",
        metadata={"name": job_name, "annotations": _annotations(spec)},
        spec=kf.KubeflowOrgV1TFJobSpec(run_policy=_run_policy(spec), success_policy="", tf_replica_specs=roles),
    )


def _mpijob(spec: Spec, job_name: str, command: list[str], environment: dict[str, str]) -> Any:
    kf = _kf()
    # mpirun hands on only what it is told to; the store's credentials come from the worker's own environment.
    environment = environment | {"OMPI_MCA_mpi_yield_when_idle": "1"}  # ranks that wait leave the core to who computes
    forwarded = [word for key in environment for word in ("-x", key)]
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(spec.workers), "-bind-to", "none"]
    launcher = _pod(spec, "mpi", [*mpirun, *forwarded, *command], environment, spec.resources.of("launcher"))
    podsecurity.leave_to_containers(launcher["spec"])
    # The training operator makes the launcher's account: another could not start the ranks.
    launcher["spec"].pop("serviceAccountName", None)
    return kf.KubeflowOrgV1MPIJob(
        api_version=API_VERSION,
        kind="MPIJob",
        # A cluster with the MPI operator gets the same job as v2beta1 (executors/kubernetes/mpi.py).
        metadata={
            "name": job_name,
            "annotations": {labels.SSH_AUTH: images.SSH_AUTH, **_annotations(spec)},
        },
        spec=kf.KubeflowOrgV1MPIJobSpec(
            run_policy=_run_policy(spec),
            slots_per_worker=1,
            mpi_replica_specs={
                "Launcher": kf.KubeflowOrgV1ReplicaSpec(
                    replicas=1,
                    restart_policy="OnFailure",
                    template=launcher,
                ),
                "Worker": kf.KubeflowOrgV1ReplicaSpec(
                    replicas=spec.workers,
                    restart_policy="OnFailure",
                    template=_pod(spec, "mpi", None, environment, spec.resources.of("worker")),
                ),
            },
        ),
    )


def _servers(spec: Spec) -> int:
    return spec.parameter_servers if isinstance(spec, TrainingSpec) and spec.strategy == "parameter_server" else 0


def _run_policy(spec: Spec) -> Any:
    kf = _kf()
    scheduling = None
    if spec.queue or spec.priority:
        scheduling = kf.KubeflowOrgV1SchedulingPolicy(
            min_available=spec.workers + (spec.strategy == "horovod") + _servers(spec),
            queue=spec.queue or None,
            priority_class=spec.priority or None,
        )
    return kf.KubeflowOrgV1RunPolicy(
        clean_pod_policy="All",  # the operator's default, None, leaves finished replicas alive with their GPUs
        ttl_seconds_after_finished=FINISHED_AFTER_S if spec.keep_s is None else spec.keep_s,
        active_deadline_seconds=spec.deadline_s,
        backoff_limit=spec.retries,
        scheduling_policy=scheduling,
    )


def _pod(
    spec: Spec, container: str, command: list[str] | None, environment: dict[str, str], asked: PodResources
) -> dict[str, Any]:
    quantities = {"cpu": asked.cpu, "memory": asked.memory}
    if asked.gpu:
        quantities["nvidia.com/gpu"] = str(asked.gpu)
    described: dict[str, Any] = {
        "name": container,
        "image": image_of(spec),
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": dict(quantities), "limits": dict(quantities)},
    }
    if command is not None:
        described["command"] = command
    if spec.store_secret:
        described["envFrom"] = [{"secretRef": {"name": spec.store_secret}}]
    pod: dict[str, Any] = {"containers": [described]}
    podsecurity.secure(pod, spec.pod_security, is_our_image=not _foreign_image(spec))
    if selector := {**spec.node_selector, **asked.node_selector}:
        pod["nodeSelector"] = selector
    if spec.priority:
        pod["priorityClassName"] = spec.priority
    if spec.service_account:
        pod["serviceAccountName"] = spec.service_account
    # Istio's sidecar keeps a finished replica's pod running, and breaks mpirun.
    metadata = {"annotations": {"sidecar.istio.io/inject": "false"}}
    return {"metadata": metadata, "spec": pod}


def _plain(resource: Any) -> Manifest:
    """The typed resource as the API server takes it, empty fields left out."""
    from kubeflow.training import ApiClient

    plain: Manifest = ApiClient().sanitize_for_serialization(resource)
    return plain


def training_of(manifest: Manifest) -> TrainingDocument:
    """The training document that a rendered manifest carries.

    Raises:
        InvalidSpec: the manifest holds none.
    """
    specs = manifest["spec"].get("tfReplicaSpecs") or manifest["spec"].get("mpiReplicaSpecs") or {}
    for replica in specs.values():
        for variable in replica["template"]["spec"]["containers"][0].get("env", []):
            if variable["name"] == "SHIPWAY_TRAINING":
                return TrainingDocument.model_validate(json.loads(variable["value"]))
    raise InvalidSpec("no replica carries SHIPWAY_TRAINING", field=f"manifest {manifest['metadata'].get('name')}")
