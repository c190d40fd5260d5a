"""Every report in a real browser, in the sandboxed frame that Kubeflow shows it in, in light and dark."""

from __future__ import annotations

import html
import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from shipway.artifacts import (
    DatasetManifest,
    DecisionRecord,
    EvaluationRecord,
    GpuUsage,
    ModelManifest,
    ReplicaUsage,
    RunRecord,
    Spread,
    StepRecord,
    SweepRecord,
    TrainingRecord,
)

pytestmark = pytest.mark.browser
FIXTURES = Path(__file__).parents[1] / "fixtures" / "reports"  # of a real run of the demo
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip


def gallery() -> str:
    path = Path(__file__).parents[1] / "unit" / "pages" / "sample_reports.py"
    spec = importlib.util.spec_from_file_location("sample_reports", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page: str = module.gallery().render()
    return page


def evaluation() -> str:
    from shipway.components.evaluate.html import evaluation_report
    from shipway.tasks import load_task

    record = EvaluationRecord.read(FIXTURES / "evaluation.json")
    return evaluation_report(record, load_task(record.task), lambda name: (FIXTURES / name).read_bytes()).render()


def evaluation_by_sureness() -> str:
    from shipway.components.evaluate.html import evaluation_report
    from shipway.tasks import load_task

    record = EvaluationRecord.read(FIXTURES / "evaluation.json")
    threshold: Any = record.details["threshold"]
    other = {**threshold, "curve": [[t, c, a - 0.02 * c * (1 - c)] for t, c, a in threshold["curve"]]}
    details = {**record.details, "threshold": {**threshold, "of": "sureness", "other": other}}
    record = record.model_copy(update={"details": details})
    return evaluation_report(record, load_task(record.task), lambda name: (FIXTURES / name).read_bytes()).render()


def sweep() -> str:
    from shipway.components.sweep.page import sweep_report

    return sweep_report(SweepRecord.read(FIXTURES / "sweep.json")).render()


def training() -> str:
    from shipway.components.train.page import training_report

    history = {"loss": [[step, 1 / step] for step in range(1, 40)], "<b>": [[1, 2.0]]}
    record = TrainingRecord(
        name="digits", function="own_fit:fit", code=f"s3://b/code/{'a' * 64}/code.zip#sha256={'a' * 64}",
        params={"epochs": 40, "kind": "it's \"on\""}, strategy="multi_worker", workers=4, metrics={"loss": 0.025},
        history=history, seconds=71.5, uri="s3://shipway/jobs/digits-train-1",
    )  # fmt: skip
    return training_report(record).render()


def training_of_a_recipe() -> str:
    from shipway.components.train.page import model_report
    from shipway.training.usage import hint

    def usage(replica: str, share: float, gpus: int) -> ReplicaUsage:
        cores, memory = Spread(mean=3.2, peak=5.75), Spread(mean=2.1e9, peak=3.4e9)
        gpu = {"use": Spread(mean=0.61, peak=0.98), "memory_bytes": Spread(mean=30e9, peak=71e9)}
        held = [GpuUsage(index=index, **gpu, memory_limit_bytes=80 << 30) for index in range(gpus)]
        return ReplicaUsage(
            replica=replica, seconds=754, cpu_cores=cores, cpu_limit=6, memory_bytes=memory, memory_limit_bytes=8 << 30,
            gpus=held, waited_for_input=share, input="stream",
        )  # fmt: skip

    usages = [usage("chief-0", 0.02, 2), usage("worker-0", 0.384, 2), usage("worker-1", 0.01, 0)]
    curves = {
        name: [(step, top / step) for step in range(25, 1_000, 25)]
        for name, top in {"loss": 40.0, "val_loss": 50.0, "val_accuracy": 20.0, "examples_per_s": 9e3}.items()
    }
    where = {"model": "s3://shipway/jobs/home-intents-train-1/model", "TensorBoard": "shipway tensorboard run-1"}
    told = hint(usages, cpu="6", memory_limit_mb=2048)
    return model_report(ModelManifest.read(FIXTURES / "model.json"), usages, curves, where, told).render()


def dataset() -> str:
    from shipway.components.prep.report import dataset_report

    return dataset_report(DatasetManifest.read(FIXTURES / "dataset.json")).render()


def decision() -> str:
    from shipway.components.promote.comparison import Champion
    from shipway.components.promote.html import decision_report

    champion = Champion(state="none", detail="There is no champion of home-intents yet.")
    scored = EvaluationRecord.read(FIXTURES / "evaluation.json")
    return decision_report(DecisionRecord.read(FIXTURES / "decision.json"), champion, scored).render()


def _version() -> Any:
    from shipway.registry import ModelVersion

    model, scored = ModelManifest.read(FIXTURES / "model.json"), EvaluationRecord.read(FIXTURES / "evaluation.json")
    return ModelVersion(
        name="home-intents", version=3, digest=model.digest, model=model, source_uri=model.uri, evaluation=scored,
        decision=DecisionRecord.read(FIXTURES / "decision.json"), dataset_uri=model.dataset_uri,
        dataset_fingerprint=model.dataset_fingerprint, dataset_rows={"train": 3333}, run="run-1",
        created_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def model_card() -> str:
    from shipway.registry.card import card_html

    return card_html(_version())


def deployment() -> str:
    from shipway.components.deploy.core import CheckResult
    from shipway.components.deploy.reports import deployment_report
    from shipway.components.deploy.rollout import Deployment
    from shipway.components.deploy.spec import EndpointSpec

    check = CheckResult(
        rows=200, max_abs_diff=4e-8, tolerance=1e-5, agreement=1.0,
        latencies_ms=[0.6 + i % 17 / 9 for i in range(200)],
    )  # fmt: skip
    done = Deployment(
        spec=EndpointSpec(name="home-intents"), version=_version(), url="http://127.0.0.1:8081", before=2,
        body={"instances": ["it's \"on\" <b>now</b>"]},
        checks={"candidate": check, "endpoint": check}, seconds={"candidate ready": 3.1, "takeover": 0.4},
    )  # fmt: skip
    return deployment_report(done).render()


def run_summary() -> str:
    from shipway.components.notify.core import summary_report
    from shipway.summary import build_summary

    steps = [
        StepRecord(run="run-1", task="dataset", state="Succeeded", seconds=5.1, outputs={"rows": 4318}),
        StepRecord(run="run-1", role="sweep", task="search", state="Succeeded", seconds=79.0, outputs={"uri": "s3://shipway/sweeps/s"}),
        StepRecord(run="run-1", role="evaluate", task="model", state="Succeeded", seconds=6.0, outputs={"uri": "s3://shipway/e/1"}),
        StepRecord.model_validate(
            {"run": "run-1", "task": "job", "state": "Failed", "seconds": 54.0,
             "error": {"kind": "JobFailed", "message": "worker-1 failed first: <killed>", "replica": "worker-1",
                       "last_lines": ["step 20", "Killed"]}}
        ),
    ]  # fmt: skip
    record = RunRecord(
        run="run-1", pipeline="p", name="home-intents", state="Failed", steps=steps, error=steps[-1].error
    )
    artifacts = {
        EvaluationRecord: EvaluationRecord.read(FIXTURES / "evaluation.json"),
        SweepRecord: SweepRecord.read(FIXTURES / "sweep.json"),
    }
    return summary_report(build_summary(record, read=lambda kind, uri: artifacts.get(kind))).render()


CUT = """[...document.querySelectorAll('figure.chart svg text')].filter(label => {
    const [place, chart] = [label, label.ownerSVGElement].map(element => element.getBoundingClientRect());
    return place.left < chart.left - 1 || place.top < chart.top - 1;
}).map(label => label.textContent)"""
MADE = (
    gallery, dataset, sweep, training, training_of_a_recipe, evaluation, evaluation_by_sureness, decision, model_card,
    deployment, run_summary,
)  # fmt: skip
REPORTS: dict[str, Callable[[], str]] = {made.__name__: made for made in MADE}


# Not for the session: as long as Playwright runs, asyncio.run() is refused in this process.
@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = os.environ.get("SHIPWAY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        told = "no Chromium on this machine: the reports are not looked at; apt-get install chromium"
        if os.environ.get("SHIPWAY_REQUIRE_BROWSER") == "1":
            pytest.fail(told)
        pytest.skip(told)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@dataclass
class Seen:
    """A report in its frame, and what the browser complained of or asked the network for."""

    page: Any
    frame: Any
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def show(browser: Any, document: str, scheme: str) -> Seen:
    page = browser.new_page(viewport={"width": 1000, "height": 800}, color_scheme=scheme)
    page.set_default_timeout(60_000)
    seen = Seen(page, None)
    page.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda r: seen.requests.append(r.url) if not r.url.startswith(("data:", "about:")) else None)
    frame = (
        f'<iframe sandbox="allow-scripts" style="width:100%;height:780px" srcdoc="{html.escape(document)}"></iframe>'
    )
    page.set_content(f"<!doctype html><html><body>{frame}</body></html>", wait_until="load")
    seen.frame = page.frames[1]
    seen.frame.wait_for_selector("footer")
    return seen


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", REPORTS)
def test_a_report_opens_in_the_sandbox_without_a_complaint(
    browser: Any, name: str, scheme: str, tmp_path: Path
) -> None:
    document = REPORTS[name]()
    assert len(document.encode()) < 1_000_000
    seen = show(browser, document, scheme)
    assert seen.complaints == []
    assert seen.requests == []
    assert seen.frame.locator("h1").inner_text()
    ground = seen.frame.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}[scheme]
    assert seen.frame.evaluate(CUT) == [], "labels that begin outside of their chart"
    overflow = seen.frame.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, "the page itself scrolls sideways; wide tables must scroll in their own box"
    if folder := os.environ.get("SHIPWAY_SCREENSHOTS"):  # to look at them
        tall = browser.new_page(viewport={"width": 1000, "height": 800}, color_scheme=scheme)
        tall.set_content(document)
        tall.screenshot(path=f"{folder}/{name}-{scheme}.png", full_page=True)
        tall.close()
    seen.page.close()


def test_a_click_sorts_and_the_pointer_names_a_cell(browser: Any) -> None:
    seen = show(browser, gallery(), "light")
    heads = seen.frame.locator("table.sortable th button")
    heads.nth(3).click()  # numbers: the largest first
    first = seen.frame.locator("table.sortable tbody tr td:last-child").first.inner_text()
    assert first == "111"
    assert seen.frame.locator("table.sortable th").nth(3).get_attribute("aria-sort") == "descending"
    seen.frame.locator("[data-matrix] svg").scroll_into_view_if_needed()
    cells = seen.frame.locator("[data-matrix] svg .cells")
    cells.hover(position={"x": 4, "y": 4}, force=True)
    assert seen.frame.locator("#tip").inner_text().startswith("<script>alert(1)</script> → <script>alert(1)")
    assert seen.complaints == []
    seen.page.close()


def test_a_script_in_a_label_does_not_run(browser: Any) -> None:
    from markupsafe import Markup

    from shipway.pages import Report

    slipped = Markup("<script>document.title = 'broken in'</script><p id=after>after</p>")
    seen = show(browser, Report("t").html(slipped).render(), "light")
    assert seen.frame.locator("#after").inner_text() == "after"
    assert seen.frame.evaluate("document.title") == "t"
    assert any("Content Security Policy" in complaint for complaint in seen.complaints)
    seen.page.close()
