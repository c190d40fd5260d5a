"""The components compile, and hand the single steps' rows on (kfp reads annotations as objects: no future import)."""

from pathlib import Path

import yaml
from kfp import compiler, dsl

from shipway.components.prep.component import dataset, encode, ingest, split, validate


@dsl.pipeline(name="prep-by-steps")
def by_steps(spec: str) -> None:
    """Ingest, validate, split, encode as four tasks, and all in one."""
    rows = ingest(spec=spec).outputs["rows"]
    validated = validate(rows=rows).outputs["validated"]
    encode(rows=split(rows=validated).outputs["splits"])
    dataset(spec=spec)


def test_every_step_of_prep_compiles_with_described_parameters(tmp_path: Path) -> None:
    compiler.Compiler().compile(by_steps, str(tmp_path / "pipeline.yaml"))
    document = yaml.safe_load((tmp_path / "pipeline.yaml").read_text())
    assert set(document["root"]["dag"]["tasks"]) == {"ingest", "validate", "split", "encode", "dataset"}
    for component in document["components"].values():
        inputs = [part for kind in component.get("inputDefinitions", {}).values() for part in kind.values()]
        assert inputs
        assert all(part.get("description") for part in inputs)  # kfp keeps none of an output artifact
