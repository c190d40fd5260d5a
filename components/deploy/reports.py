"""The deployment's report: parity, latency, and what changed."""

from __future__ import annotations

import itertools
import json
import shlex

from shipway.components.deploy.core import CheckResult
from shipway.components.deploy.rollout import Deployment
from shipway.pages import Report, columns, duration, number

_BINS_MS = (0.5, 1, 2, 3, 5, 10, 20, 50, 100)


def deployment_report(done: Deployment) -> Report:
    """What was deployed where, and how it was checked."""
    now = done.version.version
    change = f"version {done.before} -> {now}" if done.before not in (None, now) else f"version {now}"
    report = Report(f"Deployment of {done.spec.name}", change)
    last = done.checks["endpoint"]
    report.tiles(
        {
            "Version": (now, f"before: {done.before if done.before is not None else 'none'}"),
            "Largest difference": (f"{last.max_abs_diff:.1e}", f"of a number; allowed {last.tolerance:g}"),
            "Latency p50": (f"{last.latency_ms(0.5):.1f} ms", "one instance, over HTTP"),
            "Latency p99": (f"{last.latency_ms(0.99):.1f} ms", f"{len(last.latencies_ms)} requests"),
        }
    )
    if done.is_adopted:
        report.callout("info", "This version was served already", "It was checked again; nothing was restarted.")
    else:
        report.callout("good", "The endpoint took the version over without closing its port", done.predict_url)
    body = shlex.quote(json.dumps(done.body, ensure_ascii=False))
    report.section("Ask it").code(f"curl -s {done.predict_url} -H 'Content-Type: application/json' -d {body}")
    report.section("Checks", "Evaluation's held-out rows, sent through HTTP and compared with its kept predictions.")
    report.table(
        ["Where", "Rows", "Largest difference", "Allowed", "Same answer", "p50 (ms)", "p99 (ms)"],
        [_row(where, result) for where, result in done.checks.items()],
    )
    _latencies(report, last)
    report.section("Details").facts(
        {
            "Model": done.version.digest,
            "Model folder": done.version.model.uri,
            "Variant": f"{done.version.model.serving} ({done.version.model.served.digest})",
            **{what: duration(seconds) for what, seconds in done.seconds.items()},
        }
    )
    return report


def check_report(url: str, result: CheckResult) -> Report:
    """One check of an endpoint."""
    report = Report("Endpoint check", url)
    report.callout("good" if result.passed else "bad", "Passed" if result.passed else "Failed", result.reason)
    report.table(
        ["Where", "Rows", "Largest difference", "Allowed", "Same answer", "p50 (ms)", "p99 (ms)"],
        [_row(url, result)],
    )
    if result.differences:
        report.section("Rows that differ").table(
            ["Row", "Instance", "Expected", "Got", "Difference"],
            [(d.row, d.preview, d.expected, d.got, d.max_abs_diff) for d in result.differences],
            max_rows=50,
        )
    _latencies(report, result)
    return report


def _row(where: str, result: CheckResult) -> list[object]:
    return [
        where,
        result.rows,
        (f"{result.max_abs_diff:.1e}", result.max_abs_diff),
        (f"{result.tolerance:g}", result.tolerance),
        f"{result.agreement:.1%}",
        number(result.latency_ms(0.5)),
        number(result.latency_ms(0.99)),
    ]


def _latencies(report: Report, result: CheckResult) -> None:
    if not result.latencies_ms:
        return
    bounds = (0.0, *_BINS_MS, float("inf"))
    counts = [sum(low <= value < high for value in result.latencies_ms) for low, high in itertools.pairwise(bounds)]
    names = [f"< {high:g}" for high in _BINS_MS] + [f">= {_BINS_MS[-1]:g}"]
    report.chart(columns(names, counts, title="Latency of single requests", x_label="ms", y_label="requests"))
