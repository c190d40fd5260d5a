"""What the plan task does in its pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipway.steps import step

if TYPE_CHECKING:
    from shipway.components.plan.core import Plan
    from shipway.context import Context


def check_cluster(plan: Plan, context: Context) -> None:
    """Has the cluster judge, before anything starts, what the later steps will create (a server-side dry run).

    Raises:
        UserError: a kind that the cluster does not know, a permission or quota that is missing, what a webhook refuses.
    """
    if context.executor != "kubernetes":
        return
    from shipway.components.deploy.core import inference_service
    from shipway.components.deploy.spec import EndpointSpec
    from shipway.components.train.core import render
    from shipway.components.train.spec import TrainingSpec
    from shipway.executors.kubernetes import KubernetesExecutor
    from shipway.specs import parse

    executor = KubernetesExecutor(context)
    training = parse(TrainingSpec, plan.training, "training")
    endpoint = parse(EndpointSpec, plan.endpoint, "endpoint")
    nowhere = context.uri("none")
    executor.check(render(training, "shipway-check", nowhere, store_uri=context.store_uri))
    executor.check(
        inference_service(
            endpoint, endpoint="shipway-check", version=1, model_uri=nowhere, model_digest="0" * 64, threshold=None,
            store_uri=context.store_uri, run=context.run, namespace=context.namespace,
        )
    )  # fmt: skip


def train_and_deploy(**params: Any) -> Plan:
    """Validates the flat parameters of `train_and_deploy` and gives out one spec per step."""
    with step("plan") as current:
        from shipway.components.plan.core import make_plan

        plan = make_plan("train_and_deploy", params)
        check_cluster(plan, current.context)
        current.output(data_fingerprint=plan.data_fingerprint, code_fingerprint=plan.code_fingerprint)
        return plan
