"""How pip-audit's listing is judged."""

from __future__ import annotations

import pytest

from shipway.errors import InvalidSpec
from tools.images import audit

CLEAN = {"name": "click", "version": "8.5.1", "vulns": []}


def test_a_listing_without_findings_is_clean() -> None:
    assert audit.report([CLEAN, CLEAN]) == (["1 packages looked up: nothing is known"], True)


def test_a_finding_is_told_with_the_version_that_mends_it() -> None:
    found = {"name": "jinja2", "version": "3.1.2", "vulns": [{"id": "GHSA-x", "fix_versions": ["3.1.3"]}]}
    lines, is_clean = audit.report([found, CLEAN])
    assert not is_clean
    assert lines == ["jinja2 3.1.2: GHSA-x, mended in 3.1.3", "2 packages looked up: see above"]


def test_what_could_not_be_looked_up_is_no_clean_bill() -> None:
    lines, is_clean = audit.report([CLEAN, {"name": "typer", "skip_reason": "not found on PyPI"}])
    assert not is_clean
    assert lines[0] == "not looked up: 1 of 2 packages (typer ...)"


def test_an_unknown_service_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="expected one of pypi, osv"):
        audit.audit("github")
