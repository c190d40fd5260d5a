"""Reports are one escaped, self-contained file below the limit, readable in both themes."""

from __future__ import annotations

import importlib.util
import math
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest
from markupsafe import Markup

from shipway import pages

SAMPLES = Path(__file__).with_name("sample_reports.py")


def gallery(classes: int = 12) -> pages.Report:
    spec = importlib.util.spec_from_file_location("sample_reports", SAMPLES)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    built: pages.Report = module.gallery(classes)
    return built


class Tags(HTMLParser):
    """Elements that are open at the end, and every tag and attribute seen."""

    VOID = frozenset({"meta", "link", "br", "hr", "img"})

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_every_element_is_closed_in_order() -> None:
    assert parsed(gallery().render()).open == []


def test_a_report_fetches_nothing() -> None:
    for tag, attributes in parsed(gallery().render()).seen:
        for name in ("src", "href", "action", "srcset"):
            assert not attributes.get(name) or str(attributes[name]).startswith(("data:", "#")), (tag, attributes)
    assert not re.search(r"@import|url\((?!['\"]?(data:|#))", gallery().render())


def test_labels_with_markup_are_text_everywhere() -> None:
    page = gallery().render()
    assert page.count("<script") == 1
    assert "&lt;script&gt;alert(1)" in page
    assert "<i>a, b, c</i>" not in page
    assert [tag for tag, _ in parsed(page).seen].count("b") == 4  # the callouts' titles, none from labels


def test_a_script_that_slips_in_is_not_allowed_to_run() -> None:
    policy = next(a["content"] for t, a in parsed(gallery().render()).seen if a.get("http-equiv"))
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy


def test_a_heat_map_of_150_dense_classes_stays_below_the_limit() -> None:
    labels = [f"a rather long class name number {i}" for i in range(150)]
    counts = [[i * j % 97 + 1 for j in range(150)] for i in range(150)]
    page = pages.Report("dense").chart(pages.confusion_matrix(counts, labels)).render()
    assert "a rather long class name number 149" in page
    assert len(page.encode()) < pages.LIMIT_BYTES


def test_above_150_classes_those_with_the_most_errors_are_drawn() -> None:
    labels = [f"label-{i}" for i in range(400)]
    counts = [[100 * (i == j) for j in range(400)] for i in range(400)]
    counts[399][7] = 5
    drawn = pages.confusion_matrix(counts, labels)
    assert "150 of 400 classes" in drawn
    assert "label-399" in drawn
    assert "label-7&#34;" in drawn
    assert "label-398" not in drawn


def test_what_does_not_fit_is_left_out_by_name() -> None:
    page = (
        pages.Report("too large")
        .text("stays")
        .table(["text"], [["x" * 4000] for _ in range(400)], caption="All rows")
        .render()
    )
    assert len(page.encode()) < pages.LIMIT_BYTES
    assert "Left out: table All rows" in page
    assert "stays" in page


def test_many_small_blocks_that_do_not_fit_are_an_error() -> None:
    large = pages.Report("too many")
    for _ in range(2000):
        large.text("y" * 1000)
    with pytest.raises(ValueError, match="do not fit"):
        large.render()


def test_a_long_table_says_how_many_rows_it_hides() -> None:
    page = pages.Report("t").table(["n"], [[i] for i in range(1234)], max_rows=100).render()
    assert "1,134 more rows are not shown" in page


def test_numbers_stand_right_and_sort_by_value() -> None:
    page = pages.Report("t").table(["class", "recall"], [["a", ("9.0 %", 0.09)], ["b", ("10.0 %", 0.1)]]).render()
    assert '<td class="n" data-key="0.09">9.0 %</td>' in page
    assert "<td>a</td>" in page


@pytest.mark.parametrize(
    "chart",
    [
        pages.bars({}),
        pages.bars({"a": math.nan}),
        pages.columns([], []),
        pages.lines({"a": []}),
        pages.lines({"a": [(0, math.nan), (1, 2.0)]}, log_y=True),
        pages.lines({"a": [(1, 1)]}),
        pages.scatter({"a": [(0, 1)]}, log_x=True),
        pages.parallel_coordinates([], ["x"], "y"),
        pages.parallel_coordinates([{"x": 1, "y": 2.0}], ["x"], "y"),
        pages.confusion_matrix([[0]], ["only"]),
        pages.heatmap([[math.nan, 0.0]], ["r"], ["c", "d"]),
    ],
)
def test_a_chart_of_nearly_nothing_is_still_a_chart(chart: Markup) -> None:
    assert parsed(str(chart)).open == []
    assert not re.search(r"\b(nan|inf|infinity)\b", chart, re.I)


@pytest.mark.parametrize("maximize", [True, False])
def test_of_equal_trials_the_first_is_drawn_as_the_best(maximize: bool) -> None:
    rows = [{"x": x, "y": 1.0} for x in (1, 2, 3)]
    drawn = pages.parallel_coordinates(rows, ["x"], "y", maximize=maximize)
    assert re.findall(r'"trial best" d="[^"]*"><title>([^<]*)<', drawn) == ["x 1, y 1"]


def test_what_is_counted_has_whole_numbers_on_its_axis() -> None:
    drawn = pages.lines({"best": [(0, 0.5), (1, 0.75), (2, 0.8)]})
    assert re.findall(r'text-anchor="middle" class="tick">([^<]*)<', drawn) == ["0", "1", "2"]


def test_charts_and_html_refuse_plain_strings() -> None:
    with pytest.raises(TypeError, match="expected"):
        pages.Report("t").chart("<svg>")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text\\(\\)"):
        pages.Report("t").html("<p>")  # type: ignore[arg-type]


def _themes() -> dict[str, dict[str, str]]:
    css = files("shipway.pages").joinpath("templates/report.css").read_text()
    blocks = re.findall(r":root \{(.*?)\}", css, re.S)
    return {
        name: dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        for name, block in zip(("light", "dark", "print"), blocks, strict=True)
    }


def _luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """WCAG 2.1 contrast ratio, 1 to 21."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark", "print"])
def test_text_has_the_contrast_that_wcag_asks_for(theme: str) -> None:
    colours = _themes()[theme]
    grounds = ["ground", "raised", "good-ground", "warn-ground", "bad-ground", "info-ground"]
    texts = [("ink", g) for g in grounds] + [("soft", g) for g in ("ground", "raised")] + [("accent", "ground")]
    texts += [(tone, ground) for tone in ("good", "warn", "bad", "info") for ground in (f"{tone}-ground", "raised")]
    for ink, ground in texts:
        assert contrast(colours[ink], colours[ground]) >= 4.5, (ink, ground)
    for series in ("s1", "s2", "s3", "s4", "s5", "s6"):
        assert contrast(colours[series], colours["ground"]) >= 3, series


@pytest.mark.parametrize(
    ("value", "text"), [(0.4, "0.4 s"), (9.96, "10 s"), (95, "1 min 35 s"), (7300, "2 h 1 min"), (None, "–")]
)
def test_durations_read_as_people_say_them(value: float | None, text: str) -> None:
    assert pages.duration(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(1234567, "1,234,567"), (64.0, "64"), (0.00012345, "0.0001234"), (True, "True"), (math.inf, "–"), ("x", "x")],
)
def test_numbers_are_short(value: object, text: str) -> None:
    assert pages.number(value) == text


def test_metrics_are_percentages_where_they_are_shares() -> None:
    assert (pages.figure(0.934, True), pages.figure(2.5, False), pages.figure(None, True)) == ("93.4 %", "2.5", "–")
    assert (pages.change(0.0123, True), pages.change(-0.25, False)) == ("+1.23 points", "-0.25")
    assert [pages.inline(title) for title in ("Macro F1", "MAE", "F1", "")] == ["macro F1", "MAE", "F1", ""]
