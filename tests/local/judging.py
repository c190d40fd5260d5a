"""The pipeline that the tests of evaluate, gate and register play."""

from kfp import dsl

from shipway.components.evaluate import component as evaluate
from shipway.components.promote.component import gate
from shipway.components.register.component import register


@dsl.pipeline(name="judge")
def judge(model: str, dataset: str, evaluation: str = "", promotion: str = ""):
    challenger = dsl.importer(artifact_uri=model, artifact_class=dsl.Model, reimport=True)
    rows = dsl.importer(artifact_uri=dataset, artifact_class=dsl.Dataset, reimport=True)
    scored = evaluate.model(model=challenger.output, dataset=rows.output, spec=evaluation)
    judged = gate(
        model=challenger.output, dataset=rows.output, evaluation=scored.outputs["evaluation"], spec=promotion
    ).set_caching_options(False)
    with dsl.If(judged.outputs["Output"] == "blessed"):
        register(
            model=challenger.output,
            dataset=rows.output,
            evaluation=scored.outputs["evaluation"],
            decision=judged.outputs["record"],
        ).set_caching_options(False)
