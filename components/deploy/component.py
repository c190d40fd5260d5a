"""`deploy.kserve` and `deploy.check`.

Their image is the one that reads rows with Polars (docs/images.md): the predictions that evaluation kept.
"""

from typing import NamedTuple

from kfp import dsl
from kfp.dsl import HTML, Artifact, Input, Model, Output

from shipway import images


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def kserve(
    model: Input[Model],
    evaluation: Input[Artifact],
    version: int,
    spec: str,
    report: Output[HTML],
) -> NamedTuple("outputs", [("url", str)]):  # type: ignore[valid-type]
    """Serve a registered version: checked as a candidate first, then taken over without a failed request.

    Args:
        model: The `ModelManifest` that was registered.
        evaluation: Its `EvaluationRecord`; the kept predictions are what the endpoint must answer.
        version: In the registry.
        spec: An `EndpointSpec` as JSON or YAML.

        report: Parity, latency, and what was served before (HTML).
        url: Where predictions are asked for.
    """
    from shipway.components.deploy import launch

    return launch.kserve(model, evaluation, version, spec, report)


@dsl.component(base_image=images.TENSORFLOW, install_kfp_package=False)
def check(
    url: str,
    model: Input[Model],
    evaluation: Input[Artifact],
    report: Output[HTML],
    rows: int = 500,
    recipe: str = "",
    code: str = "",
) -> NamedTuple("outputs", [("max_abs_diff", float), ("latency_p50_ms", float)]):  # type: ignore[valid-type]
    """Compare what an endpoint answers with the predictions that evaluation kept.

    Args:
        url: Predict URL of the endpoint.
        model: The `ModelManifest` that it should serve; states the tolerance.
        evaluation: The model's `EvaluationRecord`.
        rows: How many held-out rows are sent.
        recipe: The model's, where it is your own: what may be imported beside the shipped ones.
        code: That recipe's, `ADDRESS#sha256=HASH`, where it is not in the image.

        report: Parity and latency (HTML).
        max_abs_diff: Largest difference of a number.
        latency_p50_ms: Median time of a request of one instance.
    """
    from shipway.components.deploy import launch

    return launch.check(url, model, evaluation, report, rows, recipe, code)
