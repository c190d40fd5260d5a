"""Pages that are written from the code are up to date, and links between pages lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page for pattern in ("*.md", "docs/**/*.md", "pipelines/*/*.md") for page in ROOT.glob(pattern) if page.is_file()
)


@pytest.mark.parametrize("tool", ["component_table", "cli_reference", "strategy_table"])
def test_what_is_written_from_the_code_is_up_to_date(tool: str) -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "tools" / f"{tool}.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_tests_that_hold_what_the_security_page_says_are_there() -> None:
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    page = ""
    named = re.findall(r"`(tests/[\w/]+\.py)?((?:::\w+)?)`", text)
    assert len(named) > 40
    for path, test in named:
        page = path or page
        code = (ROOT / page).read_text(encoding="utf-8")
        assert f"def {test.removeprefix('::')}" in code if test else code, f"{page}{test}"
