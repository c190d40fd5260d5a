"""The component compiles."""

from pathlib import Path

import yaml
from kfp import compiler

from shipway.components.prep.component import dataset


def test_prep_compiles_with_described_parameters(tmp_path: Path) -> None:
    compiler.Compiler().compile(dataset, str(tmp_path / "component.yaml"))
    document = yaml.safe_load((tmp_path / "component.yaml").read_text())
    [component] = document["components"].values()
    inputs = [part for kind in component["inputDefinitions"].values() for part in kind.values()]
    assert inputs
    assert all(part.get("description") for part in inputs)  # kfp keeps none of an output artifact
