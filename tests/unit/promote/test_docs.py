from __future__ import annotations

import re
from pathlib import Path

import yaml

from shipway.components.promote.spec import PromotionPolicy, check_policy
from shipway.specs import parse
from shipway.tasks import load_task
from shipway.tasks.classification.details import Rules


def test_the_policy_that_the_documentation_shows_is_a_policy() -> None:
    text = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
    found = re.search(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert found is not None
    given = parse(PromotionPolicy, yaml.safe_load(found.group(1))["promotion"], "promotion")
    policy, rules = check_policy(given, load_task("classification"))
    assert policy.thresholds["ece"].at_most == 0.05
    assert isinstance(rules, Rules)
    assert rules.class_floors.labels == {"emergency": 0.99}
