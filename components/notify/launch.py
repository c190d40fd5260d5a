"""What the notify task does in its pod."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from typing import Any

from shipway import redaction, references
from shipway.cached import cached_steps
from shipway.components.notify.core import parsed, post, summary_record, summary_report
from shipway.ending import stop_of
from shipway.errors import ShipwayError, UserError
from shipway.mounted import KFP_POD
from shipway.steps import step
from shipway.summary import build_summary

WEBHOOK = "SHIPWAY_WEBHOOK"  # the address where it is a secret: a run's parameters are shown to everybody
WORKFLOW_PATIENCE_S = 10.0  # for an API server that does not answer: the run has ended, and waits for us


def notify(state: str, pipeline: str, name: str, webhook: str, report_path: str) -> None:
    """Writes runs/<run>/run.json and reports/summary.{json,html}, then calls the webhook.

    Nothing that goes wrong here fails the run: the run's own end is what counts.

    Args:
        state: KFP's final status, SUCCEEDED or FAILED; RUNNING after a cancel, or where a task's timeout ended the run.
        pipeline: KFP's name of the run.
        name: Model's name.
        webhook: Address; empty for the one of the environment variable `SHIPWAY_WEBHOOK`, if any.
        report_path: Where KFP takes the HTML from.
    """
    with step("notify") as current:
        now, is_kubeflow = datetime.now(UTC), KFP_POD in os.environ
        workflow = own_workflow() if is_kubeflow else None
        record = summary_record(
            _records(current.context.run, current.key),
            run=current.context.run,
            told=state,
            pipeline=pipeline,
            name=name,
            now=now,
            stop=stop_of(workflow, now) if is_kubeflow else None,
            workflow=workflow,
        )
        summary = build_summary(record)
        page = summary_report(summary)
        page.write(report_path)
        current.output(state=record.state)
        uri = _keep(record.run, record.to_json(), summary, page.render())
        if uri:
            current.report("Run summary", uri)
        webhook = references.reveal(webhook or os.environ.get(WEBHOOK, ""))
        if webhook:
            redaction.know_hook(webhook)
            current.output(webhook=_call(webhook, summary))


def own_workflow() -> dict[str, Any] | None:
    """The Workflow that this step belongs to: it tells a cancel from a crash. None where it may not be read."""
    from shipway.executors.kubernetes.api import Api
    from shipway.executors.kubernetes.kinds import Kind
    from shipway.executors.kubernetes.own_pod import own_pod

    try:
        pod = own_pod()
        if pod is None or pod.owner is None:
            return None
        kind = Kind(pod.owner["apiVersion"], "Workflow", "workflows")
        return Api(patience_s=WORKFLOW_PATIENCE_S).get(kind.path(pod.namespace, pod.owner["name"]))
    except ShipwayError as error:
        print(f"notify: the run's Workflow cannot be read: {error}", file=sys.stderr)
        return None


def _records(run: str, own_key: str) -> list[str]:
    """The steps' records as JSON, but our own, and those of cached steps; empty where storage does not answer."""
    from shipway.storage import Store

    try:
        store = Store.open()
        keys = [info.key for info in store.list(f"runs/{run}/steps/") if info.key.endswith(".json")]
        records = [store.get(key).decode() for key in keys if key != own_key]
        return records + [step.to_json() for step in cached_steps(store, parsed(records), run)]
    except ShipwayError as error:
        print(f"notify: the steps' records cannot be read: {error}", file=sys.stderr)
        return []


def _keep(run: str, record: str, summary: dict[str, object], page: str) -> str | None:
    """URI of the page; None where storage does not answer."""
    import json

    from shipway.storage import Store

    try:
        store = Store.open()
        store.put(f"runs/{run}/run.json", record.encode())
        store.put(f"runs/{run}/reports/summary.json", json.dumps(summary, indent=1, default=str).encode())
        store.put(f"runs/{run}/reports/summary.html", page.encode())
        return f"{store.uri}/runs/{run}/reports/summary.html"
    except ShipwayError as error:
        print(f"notify: the summary is not kept: {error}", file=sys.stderr)
        return None


def _call(webhook: str, summary: dict[str, object]) -> str:
    """What came of it, in words without the address."""
    try:
        status = post(webhook, summary)
    except UserError as error:
        told = str(error)
    except OSError as error:
        told = f"{redaction.host_of(webhook)} was not reached: {type(error).__name__}"
    else:
        told = f"{redaction.host_of(webhook)} answered {status}"
    print(f"notify: webhook {told}", flush=True)
    return told
