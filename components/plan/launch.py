"""What the plan task does in its pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipway import references
from shipway.steps import step

if TYPE_CHECKING:
    from shipway.components.deploy.spec import EndpointSpec
    from shipway.components.plan.core import Plan
    from shipway.components.train.spec import TrainingSpec
    from shipway.context import Context


def check_cluster(
    training: TrainingSpec, endpoint: EndpointSpec, context: Context, *, patience_s: float | None = None
) -> None:
    """Has the cluster judge, before anything starts, what the later steps will create (a server-side dry run).

    Args:
        training: Of the step that trains.
        endpoint: Of the step that deploys.
        context: Whose executor and namespace count; nothing is asked where it plays processes.
        patience_s: How long an API server may be away; None: as long as a job's follower bears it.

    Raises:
        UserError: a kind that the cluster does not know, a permission or quota that is missing, what a webhook refuses.
        Conflict: an endpoint of that name which somebody else made.
    """
    if context.executor != "kubernetes":
        return
    from shipway.components.deploy.core import inference_service
    from shipway.components.train.core import render
    from shipway.executors import identity
    from shipway.executors.kubernetes import KubernetesExecutor, services
    from shipway.executors.kubernetes.api import PATIENCE_S, Api

    executor = KubernetesExecutor(context, Api(patience_s=patience_s or PATIENCE_S))
    nowhere = context.uri("none")
    executor.check(render(training, identity.CHECK, nowhere, store_uri=context.store_uri))
    executor.check(
        inference_service(
            endpoint, endpoint=identity.CHECK, version=1, model_uri=nowhere, model_digest="0" * 64, recipe="",
            answers={}, store_uri=context.store_uri, run=context.run, namespace=context.namespace,
        )
    )  # fmt: skip
    services.check_names(executor.api, context.namespace, (endpoint.name, identity.candidate_name(endpoint.name)))


def train_and_deploy(**params: Any) -> Plan:
    """Validates the flat parameters of `train_and_deploy` and gives out one spec per step."""
    with step("plan") as current:
        from shipway.components.deploy.spec import EndpointSpec
        from shipway.components.plan.core import make_plan
        from shipway.components.train.spec import TrainingSpec
        from shipway.specs import parse

        plan = make_plan("train_and_deploy", references.conceal_all(params))
        training = parse(TrainingSpec, plan.training, "training")
        check_cluster(training, parse(EndpointSpec, plan.endpoint, "endpoint"), current.context)
        current.output(data_fingerprint=plan.data_fingerprint, code_fingerprint=plan.code_fingerprint)
        return plan
