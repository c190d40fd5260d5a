"""A run's record from its steps' records, its page, and the webhook."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from shipway.artifacts import RunRecord, StepError, StepRecord
from shipway.ending import STATES, Sources, Stop, handled_state, lost, reasons, settle, state_of
from shipway.errors import CorruptArtifact, InvalidSpec
from shipway.pages.numbers import duration, figure, number
from shipway.patience import Patience, retry_after
from shipway.summary import all_told, of_role

if TYPE_CHECKING:
    from shipway.pages import Report
    from shipway.pages.page import Tone

TIMEOUT_S = 10.0
PATIENCE = Patience(attempts=3, first_s=1.0)
TOO_MANY = 429
# Who stopped a step that was sent SIGTERM, where the run went on to its exit handler.
STOPPED = {
    "none": "past its time limit, or its node went",
    "unknown": "the run was cancelled, or the step was past its time limit; which of them this account may not see",
}
_TONES: dict[str, Tone] = {"Succeeded": "good", "Failed": "bad", "Cancelled": "warn"}


def summary_record(
    records: Iterable[str],
    *,
    run: str,
    told: str,
    pipeline: str,
    name: str,
    now: datetime,
    stop: Stop | None = None,
    workflow: Mapping[str, Any] | None = None,
) -> RunRecord:
    """The run as its steps tell it.

    Args:
        records: StepRecords as JSON; one that cannot be read is left out.
        run: The run's key.
        told: KFP's final state of the tasks before. It keeps no message, names the handler instead of the culprit, and
            says RUNNING after a cancel and after a task's timeout.
        pipeline: KFP's name of the run.
        name: Model's name.
        now: The run's end.
        stop: What ended the Workflow from outside; None where there is none, so that only a person stops a step.
        workflow: The run's own, where it may be read: it knows why a pod ended without a word.
    """
    steps = _of_this_attempt(parsed(records))
    stop = stop or ("cancelled" if any(step.state == "Cancelled" for step in steps) else "none")
    has_failed = any(step.state in ("Failed", "Cancelled") for step in steps)
    went_well = STATES.get((handled_state(workflow) or told).upper()) == "Succeeded" and not has_failed
    state = state_of(Sources("SUCCEEDED" if went_well else "FAILED", stop))
    why = reasons(workflow)
    # Where a record says Running its pod is gone: the exit handler runs behind every other task.
    steps = [settle(step, state, stop, why.get(step.name, "")) if step.state == "Running" else step for step in steps]
    error = _error(steps, state, stop, told)
    started = steps[0].started_at if steps else now.isoformat(timespec="seconds")
    return RunRecord.model_validate(
        {
            "run": run, "pipeline": pipeline, "name": name, "state": state, "started_at": started,
            "seconds": max((now - _time(started, now)).total_seconds(), 0.0), "steps": steps, "error": error,
        }
    )  # fmt: skip


def _error(steps: list[StepRecord], state: str, stop: Stop, told: str) -> StepError | None:
    if state == "Succeeded":
        return None
    if stop in ("cancelled", "deadline"):
        stopped = next((step for step in steps if step.state in ("Failed", "Cancelled")), None)
        return stopped.error if stopped and stopped.state == "Failed" and stopped.error else lost(stop)
    failed = next((step for step in steps if step.state in ("Failed", "Cancelled")), None)
    if failed is not None and failed.state == "Cancelled" and failed.error is not None:
        return failed.error.model_copy(update={"message": f"{failed.error.message}: {STOPPED[stop]}"})
    if failed is not None:
        return failed.error
    return StepError(kind="Unknown", message=f"no step recorded a failure; Kubeflow says {told or 'nothing'}")


def parsed(records: Iterable[str]) -> list[StepRecord]:
    """Those that can be read, in the order in which they began."""
    steps = []
    for text in records:
        try:
            steps.append(StepRecord.from_json(text, "step record"))
        except CorruptArtifact as error:
            print(f"notify: {error}")
    return sorted(steps, key=lambda step: step.started_at)


def _of_this_attempt(steps: list[StepRecord]) -> list[StepRecord]:
    """Without what an earlier attempt of the same run left: `plan` runs first, and every time."""
    began = min((plan.started_at for plan in of_role(steps, "plan")), default="")
    return [step for step in steps if step.started_at >= began or step.state == "Cached"]


def _time(text: str, otherwise: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def summary_report(summary: Mapping[str, Any]) -> Report:
    """The run on one page."""
    from shipway.pages import Report, bars

    title = summary["name"] or summary["pipeline"] or summary["run"]
    page = Report(f"Run of {title}: {summary['state']}", f"{summary['run']} · {duration(summary['seconds'])}")
    if summary["error"]:
        error = summary["error"]
        page.callout("bad", f"{error.get('step') or 'The run'} failed", error.get("message", ""))
        if error.get("last_lines"):
            page.code("\n".join(error["last_lines"]), f"Last lines of {error.get('replica', 'the step')}")
    decision = summary["decision"]
    if decision:
        page.callout("good" if decision["decision"] == "blessed" else "warn", decision["decision"], decision["reason"])
    page.tiles(_tiles(summary), tones={"State": _TONES.get(summary["state"], "info")})
    _add_scores(page, summary)
    for title, columns, told in all_told(summary):
        page.section(title).table(columns, told)
    ran = [step for step in summary["steps"] if step["seconds"] > 0 and not step["cached"]]
    page.section("Steps")
    if ran:
        page.chart(bars([(step["title"], step["seconds"]) for step in ran], format=duration, title="Time by step"))
    page.table(
        ["step", "state", "took", "what it said"],
        [
            (s["title"], s["state"], ("cached" if s["cached"] else duration(s["seconds"]), s["seconds"]), _said(s))
            for s in summary["steps"]
        ],
        tones=["bad" if step["state"] == "Failed" else None for step in summary["steps"]],
    )
    _add_places(page, summary)
    return page


def _tiles(summary: Mapping[str, Any]) -> dict[str, Any]:
    tiles: dict[str, Any] = {"State": summary["state"], "Took": duration(summary["seconds"])}
    evaluation = summary["evaluation"]
    if evaluation:
        first = evaluation["shown"][0]
        name, is_share = first["name"], first["is_share"]
        bounds = evaluation["intervals"].get(name)
        between = " to ".join(figure(bound, is_share) for bound in bounds or ())
        tiles[first["title"]] = (
            figure(evaluation["metrics"][name], is_share),
            between or f"{evaluation['split']} split",
        )
    if summary["model"]:
        tiles["Version"] = (summary["model"]["version"], summary["model"]["name"])
    return tiles


def _add_scores(page: Report, summary: Mapping[str, Any]) -> None:
    from shipway.pages import bars

    evaluation = summary["evaluation"]
    if evaluation:
        name, is_share = evaluation["shown"][0]["name"], evaluation["shown"][0]["is_share"]
        scores = {"this model": evaluation["metrics"][name]}
        scores |= {baseline["title"]: baseline["metrics"][name] for baseline in evaluation["baselines"].values()}
        page.section("How good it is", f"{evaluation['split']} split, {number(evaluation['rows'])} rows.")
        page.chart(
            bars(
                scores,
                title=f"{evaluation['shown'][0]['title']} beside the baselines",
                format=lambda value: figure(value, is_share),
                highlight=["this model"],
                high=1.0 if is_share else None,
            )
        )
        lost = [baseline["title"] for baseline in evaluation["baselines"].values() if baseline["model_loses"]]
        if lost:
            page.callout("bad", f"The model loses to: {', '.join(lost)}")
        for sentence in evaluation["headline"]:
            page.text(sentence)
    if summary["best_parameters"]:
        page.facts(summary["best_parameters"], caption="Parameters that won")


def _add_places(page: Report, summary: Mapping[str, Any]) -> None:
    endpoint = summary["endpoint"]
    facts = {**({"endpoint": endpoint["predict_url"]} if endpoint else {}), **summary["reports"]}
    if facts:
        page.section("Where everything lies").facts(facts)


def _said(step: Mapping[str, Any]) -> str:
    if step.get("error"):
        return str(step["error"])
    plain = {k: v for k, v in step["outputs"].items() if isinstance(v, int | float) or "://" not in str(v)}
    return ", ".join(f"{key} {number(value)}" for key, value in plain.items() if not isinstance(value, dict | list))


def check_address(url: str) -> None:
    """Refuses a webhook that is no address, without telling it: its path is a secret.

    Raises:
        InvalidSpec: not an http or https address.
    """
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:  # a port that is none, a bracket too many
        is_address = False
    if not is_address or re.search(r"[\s\x00-\x1f\x7f]", url):
        raise InvalidSpec(
            "not an address",
            field="webhook",
            allowed="http:// or https://, a host and a path, such as https://hooks.example.com/T0/B0",
            fix="nothing was sent",
        )


def post(url: str, document: Mapping[str, Any]) -> int:
    """Sends JSON; two more tries after a 5xx, a 429 or a failed connection.

    Returns:
        The HTTP status of the last answer.

    Raises:
        InvalidSpec: not an http or https address.
        OSError: nobody answered.
    """
    from urllib.error import HTTPError
    from urllib.request import HTTPRedirectHandler, Request, build_opener

    class Stay(HTTPRedirectHandler):
        """A redirect is an answer: following one would send the summary where nobody asked for it."""

        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    check_address(url)
    body = json.dumps(document, ensure_ascii=False, default=str).encode()
    request = Request(url, data=body, headers={"Content-Type": "application/json", "User-Agent": "shipway"})
    tries = PATIENCE.tries()
    while True:
        try:
            with build_opener(Stay).open(request, timeout=TIMEOUT_S) as response:
                return int(response.status)
        except HTTPError as error:
            passes = error.code >= 500 or error.code == TOO_MANY
            if not (passes and tries.again(retry_after(error.headers))):
                return int(error.code)
        except OSError:
            if not tries.again():
                raise
