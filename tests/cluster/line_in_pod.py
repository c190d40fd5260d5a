"""Prep, training, evaluation and release, one behind the other, as the steps of `train_and_deploy` call them.

`line_in_pod.py SPECS` runs in a pod of one of Shipway's images; SPECS is a file with the five specs, by name. The last
line that it prints is what the release gave out, as JSON.
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from shipway.components.evaluate import launch as evaluation
from shipway.components.prep import launch as prep
from shipway.components.release import launch as release
from shipway.components.train import launch as training

FOLDER = Path("/tmp/line")


def output(name: str) -> Any:
    """What kfp gives a step for an output."""
    return SimpleNamespace(
        path=str(FOLDER / name), log_metric=lambda *_: None, log_confusion_matrix=lambda *_: None, metadata={}
    )


def main() -> None:
    specs = {name: json.dumps(spec) for name, spec in json.loads(Path(sys.argv[-1]).read_text()).items()}
    FOLDER.mkdir()
    dataset, model, record = output("dataset"), output("model"), output("evaluation")
    prep.dataset(specs["dataset"], dataset, output("rows.html"))
    training.job(dataset, specs["training"], "", model, output("metrics"), output("ui"))
    evaluation.evaluate(
        model, dataset, record, output("confusion"), output("scores"), output("scores.html"), specs["evaluation"]
    )
    pages = release.Pages(output("decision"), output("decision.html"), output("card.html"), output("deployment.html"))
    done = release.release(model, dataset, record, specs["promotion"], specs["endpoint"], pages)
    print(json.dumps(done._asdict()), flush=True)


if __name__ == "__main__":
    main()
