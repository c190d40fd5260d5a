"""What the deploy components do in their task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from shipway.components.deploy.rollout import Deployment


class Served(NamedTuple):
    """Outputs of `deploy.kserve`."""

    url: str


class Checked(NamedTuple):
    """Outputs of `deploy.check`."""

    max_abs_diff: float
    latency_p50_ms: float


def kserve(model: Any, evaluation: Any, version: int, spec: str, report: Any) -> Served:
    """Serves a registered version; see `component.kserve` for the arguments (KFP artifacts have `.path`)."""
    from shipway.artifacts import EvaluationRecord, ModelManifest
    from shipway.code import use
    from shipway.components.deploy.reports import deployment_report
    from shipway.components.deploy.spec import EndpointSpec
    from shipway.errors import InvalidSpec
    from shipway.registry import Registry
    from shipway.specs import parse
    from shipway.steps import step

    with step("deploy") as current:
        endpoint = parse(EndpointSpec, spec, "endpoint")
        use(endpoint.code, "endpoint.code")
        manifest = ModelManifest.read(model.path)
        registry = Registry()
        registered = registry.get(endpoint.name, int(version))
        if registered.digest != manifest.digest:
            raise InvalidSpec(
                (f"{version} of {endpoint.name} is model {registered.digest}, the given model is {manifest.digest}"),
                field="version",
                fix="pass the version that `register` gave for this model",
            )
        decision = registry.decision(registered)
        judged = decision.champion_sequence if decision else None
        done = _deploy(endpoint, registered, registry, EvaluationRecord.read(evaluation.path), current, judged)
        html = deployment_report(done)
        html.write(report.path)
        current.output(
            url=done.predict_url,
            endpoint=endpoint.name,
            version=registered.version,
            before=done.before,
            adopted=done.is_adopted,
            max_abs_diff=done.checks["endpoint"].max_abs_diff,
            latency_p50_ms=round(done.checks["endpoint"].latency_ms(0.5), 3),
            latency_p99_ms=round(done.checks["endpoint"].latency_ms(0.99), 3),
        )
        key = f"runs/{current.context.run}/reports/deploy.html"
        registry.store.put(key, html.render().encode())
        current.report("Deployment", current.context.uri(key))
        return Served(done.predict_url)


def deploy_version(name: str, version: int | str = "champion", spec: Any = None) -> Deployment:
    """Serves a version that is in the registry, outside of a run: what a rollback ends with.

    Args:
        name: The model's.
        version: Number, alias or `latest`.
        spec: An `EndpointSpec` or its document; default as the presets have it.

    Raises:
        NotFound: no such version.
        CheckFailed: it does not answer as it was evaluated; the version before goes on being served.
    """
    from shipway.code import use
    from shipway.components.deploy.spec import EndpointSpec
    from shipway.registry import Registry
    from shipway.specs import parse

    registry, endpoint = Registry(), parse(EndpointSpec, spec or {"name": name}, "endpoint")
    use(endpoint.code, "endpoint.code")
    return _deploy(endpoint, registry.get(name, version), registry)


def check(url: str, model: Any, evaluation: Any, report: Any, rows: int, recipe: str = "", code: str = "") -> Checked:
    """Compares an endpoint's answers with evaluation's; see `component.check`."""
    from shipway.artifacts import EvaluationRecord, ModelManifest
    from shipway.code import use
    from shipway.components.deploy.parity import check_endpoint, kept_rows
    from shipway.components.deploy.reports import check_report
    from shipway.components.deploy.rollout import CheckFailed
    from shipway.steps import step

    with step("check") as current:
        use(code)
        manifest = ModelManifest.read(model.path)
        kept = kept_rows(
            EvaluationRecord.read(evaluation.path), manifest, int(rows), recipes=[recipe] if recipe else []
        )
        result = check_endpoint(url, kept, manifest.served.tolerance)
        check_report(url, result).write(report.path)
        current.output(url=url, rows=result.rows, max_abs_diff=result.max_abs_diff, passed=result.passed)
        if not result.passed:
            raise CheckFailed(f"deploy.check: {url}: {result.reason}")
        return Checked(result.max_abs_diff, result.latency_ms(0.5))


def _deploy(
    spec: Any, version: Any, registry: Any, evaluation: Any = None, current: Any = None, judged: int | None = None
) -> Deployment:
    from shipway import executors
    from shipway.components.deploy.rollout import Rollout

    on_job = (lambda name, cancel: current.job(name, on_cancel=cancel)) if current else (lambda _name, _cancel: None)
    return Rollout(spec, version, executors.current(), registry, evaluation, on_job, judged).run()
