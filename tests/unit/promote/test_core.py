from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from shipway.artifacts import BaselineMetrics, EvaluationRecord, Interval, RuleResult
from shipway.components.promote.comparison import Champion, Figures, compare
from shipway.components.promote.core import judge, verdict
from shipway.components.promote.spec import ChampionRules, PromotionPolicy, check_policy
from shipway.errors import InvalidSpec
from shipway.measuring import sign_test
from shipway.specs import parse
from tests.unit.promote.records import TASK, evaluation

NONE = Champion("none", "there is no champion of toy yet")
COUNTS = [[18, 2], [5, 15]]


def judged(policy: str, record: EvaluationRecord | None = None, champion: Champion = NONE) -> list[RuleResult]:
    quiet = "baselines: {must_not_lose_to: []}\n" if "baselines" not in policy else ""
    found = record or evaluation()
    wanted, own = check_policy(parse(PromotionPolicy, quiet + policy, "promotion"), TASK)
    matrix = json.dumps({"labels": ["a", "b"], "counts": COUNTS}).encode()
    return judge(wanted, found, TASK.evaluation.judge(own, found, lambda name: matrix), champion)


def test_a_comparison_counts_the_rows_that_only_one_answers_rightly() -> None:
    def answers(predicted: str) -> pl.DataFrame:
        hashes = pl.Series(range(6), dtype=pl.UInt64)
        return pl.DataFrame({"label": list("aabbba"), "predicted": list(predicted), "group_hash": hashes})

    rules = ChampionRules(bootstrap=100)
    found = compare(TASK, answers("abbbab"), answers("aabaaa"), ["a", "b"], rules)
    assert (found.only_champion, found.only_challenger) == (1, 2)
    accuracy = found.metrics["accuracy"]
    assert (accuracy["champion"], accuracy["challenger"]) == (3 / 6, 4 / 6)
    assert accuracy["difference"] == pytest.approx(1 / 6)
    assert accuracy["low"] <= accuracy["difference"] <= accuracy["high"]


@pytest.mark.parametrize(
    ("bound", "passes", "value"),
    [
        ("0.7", True, 0.825),
        ("0.9", False, 0.825),
        ("{at_least: 0.8, confident: true}", False, 0.7),
        ("{at_most: 0.9}", True, 0.825),
        ("{at_most: 0.9, confident: true}", False, 0.95),
        ("{at_least: 0.8, at_most: 0.82}", False, 0.825),
    ],
)
def test_a_threshold_is_judged_on_the_value_or_on_the_pessimistic_end(bound: str, passes: bool, value: float) -> None:
    [rule, _] = judged(f"thresholds: {{accuracy: {bound}}}")
    assert (rule.passed, rule.value) == (passes, value)


def test_a_bare_number_is_an_upper_bound_where_less_is_better() -> None:
    [loss, _] = judged("thresholds: {ece: 0.05}", evaluation(metrics={"ece": 0.1}))
    assert (loss.passed, loss.bound) == (False, 0.05)


def test_a_metric_that_was_not_measured_does_not_pass() -> None:
    [rule, _] = judged("thresholds: {coverage: 0.5}")
    assert not rule.passed
    assert "no eval split" in rule.detail


def test_a_bound_on_an_interval_that_was_not_measured_does_not_pass_by_the_value_alone() -> None:
    record = evaluation().model_copy(update={"intervals": {}})
    [rule, _] = judged("thresholds: {accuracy: {at_least: 0.5, confident: true}}", record)
    assert not rule.passed
    assert "no interval was measured" in rule.detail


def test_class_floors_name_the_classes_below_and_leave_out_the_rare_ones() -> None:
    [rule, _] = judged("task: {class_floors: {recall: 0.8}}")
    assert (rule.passed, rule.value) == (False, 0.75)
    assert rule.detail == "below: b 0.750; 1 classes with fewer than 10 rows are not judged"
    [rule, _, _] = judged("task: {class_floors: {recall: 0.8, labels: {b: 0.7}}}")
    assert rule.passed
    [_, own, missing, _] = judged("task: {class_floors: {recall: 0.8, labels: {rare: 0.9, baa: 0.5}}}")
    assert not own.passed
    assert not missing.passed
    assert missing.detail == "no test row has this label"


def test_forbidden_confusions_by_count_and_by_rate() -> None:
    policy = """task:
      forbidden_confusions:
      - {label: b, predicted: a}
      - {label: b, predicted: a, max_count: 5}
      - {label: b, predicted: a, max_rate: 0.2}
      - {label: a, predicted: b, max_rate: 0.1}
      - {label: a, predicted: bb}"""
    rules = judged(policy)[:-1]
    assert [rule.passed for rule in rules] == [False, True, False, True, False]
    assert rules[0].detail == "5 of 20 rows (25.0%)"
    assert "neither model nor test rows have a label 'bb' (did you mean 'b'?)" in rules[-1].detail


def test_losing_to_a_baseline_by_more_than_the_margin_fails() -> None:
    svm = BaselineMetrics(name="linear_svm", title="linear SVM", metrics={"accuracy": 0.84}, trained_rows=10)
    record = evaluation(baselines=[svm])
    assert [(r.passed, r.applies) for r in judged("baselines: {margin: 0.0}", record)[:2]] == [
        (True, False),  # the majority was not measured
        (False, True),
    ]
    assert judged("baselines: {margin: 0.02}", record)[1].passed


@pytest.mark.parametrize(
    ("high", "policy", "passes"),
    [(0.004, "{}", True), (-0.009, "{}", True), (-0.011, "{}", False), (0.004, "{only_sure_losses: false}", False)],
)
def test_only_a_loss_that_its_interval_confirms_rejects(high: float, policy: str, passes: bool) -> None:
    between = Interval(low=-0.05, high=high)
    svm = BaselineMetrics(
        name="linear_svm", title="linear SVM", metrics={"accuracy": 0.85}, trained_rows=10,
        difference=-0.025, difference_interval=between,
    )  # fmt: skip
    rule = judged(f"baselines: {policy}", evaluation(baselines=[svm]))[1]
    assert rule.passed is passes
    assert "difference -0.0250" in rule.detail


def figures(difference: float, low: float, high: float, lost: int = 3, won: int = 1) -> Figures:
    metrics = {
        name: {"champion": 0.8, "challenger": 0.8 + difference, "difference": difference, "low": low, "high": high}
        for name in ("accuracy", "macro_f1", "weighted_f1")
    }
    return Figures(rows=100, metrics=metrics, only_champion=lost, only_challenger=won, p_value=sign_test(lost, won))


def against(policy: str, shared: Figures, everything: Figures | None = None) -> list[bool]:
    champion = Champion("compared", "better", 3, "digest", shared=shared, all=everything or shared)
    return [rule.passed for rule in judged(f"champion: {policy}", champion=champion) if rule.applies]


def test_no_worse_than_and_better_than_at_their_margins() -> None:
    assert against("{no_worse_than: [{margin: 0.01}]}", figures(-0.01, -0.03, 0.01)) == [True]
    assert against("{no_worse_than: [{margin: 0.01}]}", figures(-0.011, -0.03, 0.01)) == [False]
    assert against("{no_worse_than: [{margin: 0.01, confident: true}]}", figures(0.0, -0.03, 0.03)) == [False]
    better = "{no_worse_than: [], better_than: [{metric: macro_f1}]}"
    assert against(better, figures(0.001, -0.01, 0.02)) == [True]
    assert against(better, figures(0.0, -0.01, 0.02)) == [False]
    surely = "{no_worse_than: [], better_than: [{margin: 0.01, confident: true}]}"
    assert against(surely, figures(0.03, 0.011, 0.05)) == [True]
    assert against(surely, figures(0.03, 0.009, 0.05)) == [False]


def test_significantly_fewer_right_answers_reject_only_where_asked() -> None:
    worse = figures(-0.005, -0.01, 0.0, lost=40, won=10)
    assert against("{}", worse) == [True]
    assert against("{significance: 0.05}", worse) == [True, False]
    assert against("{significance: 0.05}", figures(0.05, 0.0, 0.1, lost=10, won=40)) == [True, True]


def test_rules_are_judged_on_the_shared_labels_or_on_all() -> None:
    shared, everything = figures(0.0, -0.01, 0.01), figures(-0.2, -0.3, -0.1)
    assert against("{rows: shared}", shared, everything) == [True]
    assert against("{rows: all}", shared, everything) == [False]


@pytest.mark.parametrize(("policy", "blessed"), [("skip", True), ("reject", False)])
@pytest.mark.parametrize("state", ["leaked", "unknown"])
def test_a_champion_that_saw_the_test_rows_is_not_compared(state: str, policy: str, blessed: bool) -> None:
    champion = Champion(state, "the champion was trained on 7 groups", 3, "digest", leaked_groups=7)
    rules = judged(f"champion: {{if_leaked: {policy}}}", champion=champion)
    assert rules[-1].detail == "the champion was trained on 7 groups; not compared"
    assert verdict(rules, champion)[0] is blessed


def test_the_first_model_of_its_name_is_judged_on_its_own_figures() -> None:
    rules = judged("thresholds: {accuracy: 0.5}")
    assert [rule.applies for rule in rules] == [True, False]
    assert verdict(rules, NONE) == (True, "all 1 rules pass; there is no champion of toy yet")
    failing = judged("thresholds: {accuracy: 0.99}")
    assert verdict(failing, NONE) == (False, "1 of 1 rules fail: accuracy at least 0.99: 0.8250 is below 0.99")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"thresholds": {"acuracy": 0.5}}, r"promotion.thresholds: unknown metric 'acuracy'.*did you mean 'accuracy'"),
        ({"thresholds": {"accuracy": {}}}, r"promotion.thresholds.accuracy: expected at_least, at_most or both"),
        ({"thresholds": {"ece": {"at_most": 1, "confident": True}}}, r"has no interval; expected one of accuracy"),
        ({"champion": {"if_leaked": "ignore"}}, r"promotion.champion.if_leaked: expected one of skip, reject"),
        ({"thresholds": {"accuracy": 90}}, r"promotion.thresholds.accuracy: got 90, expected a share from 0 to 1"),
        (
            {"baselines": {"must_not_lose_to": ["svm"]}},
            r"must_not_lose_to\[0\]: unknown baseline 'svm'; expected one of",
        ),
        ({"champion": {"better_than": [{"metric": "ece"}]}}, r"champion.better_than\[0\].metric: unknown metric 'ece'"),
        ({"task": {"class_floor": {}}}, r"promotion.task.class_floor: unknown field; .*did you mean 'class_floors'"),
    ],
)
def test_a_wrong_policy_is_one_clear_line(document: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as raised:
        check_policy(parse(PromotionPolicy, document, "promotion"), TASK)
    assert "\n" not in str(raised.value)
