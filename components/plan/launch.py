"""What the plan task does in its pod."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shipway.steps import step

if TYPE_CHECKING:
    from shipway.components.plan.core import Plan


def train_and_deploy(**params: Any) -> Plan:
    """Validates the flat parameters of `train_and_deploy` and gives out one spec per step."""
    with step("plan") as current:
        from shipway.components.plan.core import make_plan

        plan = make_plan("train_and_deploy", params)
        current.output(data_fingerprint=plan.data_fingerprint, code_fingerprint=plan.code_fingerprint)
        return plan
