"""The decision's report."""

from __future__ import annotations

from shipway.artifacts import DecisionRecord, EvaluationRecord, MetricInfo
from shipway.components.promote.comparison import Champion, Figures
from shipway.pages import Report, change, figure
from shipway.pages.page import Tone


def decision_report(record: DecisionRecord, champion: Champion, evaluation: EvaluationRecord) -> Report:
    """The decision, rule by rule, and what the champion would have answered."""
    blessed = record.decision == "blessed"
    page = Report(f"Decision on {record.name}", "Blessed" if blessed else "Rejected")
    page.callout("good" if blessed else "bad", "Blessed" if blessed else "Rejected", record.reason)
    page.section("Rule by rule").table(
        ["rule", "", "value", "bound", "detail"],
        [
            [
                rule.rule,
                "passes" if rule.passed and rule.applies else "does not apply" if not rule.applies else "fails",
                _figure(rule.value),
                _figure(rule.bound),
                rule.detail,
            ]
            for rule in record.rules
        ],
        sortable=False,
        tones=[_tone(rule.passed, rule.applies) for rule in record.rules],
    )
    _champion(page, champion, evaluation.shown)
    page.section("Where this comes from").facts(
        {
            "challenger digest": record.challenger_digest,
            "challenger's variant": record.challenger_variant,
            "champion digest": record.champion_digest or "none",
            "evaluation": record.evaluation_uri or "",
            "decided at": record.created_at,
            "policy": record.policy,
        }
    )
    return page


def _tone(passed: bool, applies: bool) -> Tone | None:
    return None if not applies else "good" if passed else "bad"


def _figure(value: float | None) -> object:
    return None if value is None else (f"{value:.4g}", value)


def _champion(page: Report, champion: Champion, shown: list[MetricInfo]) -> None:
    page.section("Against the champion", f"{champion.detail[:1].upper()}{champion.detail[1:]}.")
    if champion.state in ("other", "leaked", "unknown"):
        page.callout("warn", "The champion was not compared", champion.detail)
    if champion.new_labels:
        page.text(f"Labels that only the challenger knows: {_named(champion.new_labels)}.")
    if champion.gone_labels:
        page.text(f"Labels that only the champion knows: {_named(champion.gone_labels)}.")
    differ = bool(champion.new_labels or champion.gone_labels)
    for figures, title in ((champion.shared, "Rows whose labels both know"), (champion.all, "All test rows")):
        if figures is not None and (differ or title.startswith("All")):
            _table(page, figures, shown, f"{title}: {figures.rows:,}")
    if champion.lost:
        page.table(
            [*champion.lost[0]],
            [[*row.values()] for row in champion.lost],
            caption="Rows that the champion answers better, and what the challenger answers",
        )


def _named(labels: list[str]) -> str:
    return ", ".join(labels[:50]) + (f" and {len(labels) - 50} more" if len(labels) > 50 else "")


def _table(page: Report, figures: Figures, shown: list[MetricInfo], caption: str) -> None:
    page.table(
        ["metric", "champion", "challenger", "difference", "interval of the difference"],
        [
            [
                info.name,
                (figure(metric["champion"], info.is_share), metric["champion"]),
                (figure(metric["challenger"], info.is_share), metric["challenger"]),
                (change(metric["difference"], info.is_share), metric["difference"]),
                f"{change(metric['low'], info.is_share)} to {change(metric['high'], info.is_share)}",
            ]
            for info in shown
            if (metric := figures.metrics.get(info.name))
        ],
        caption=caption,
        sortable=False,
    )
    page.text(
        f"{figures.only_champion} rows the champion answers better, {figures.only_challenger} the challenger: the "
        f"exact sign test (McNemar's, where answers are right or wrong) gives p = {figures.p_value:.3g}."
    )
