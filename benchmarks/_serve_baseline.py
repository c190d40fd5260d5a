"""The baseline of `serve`: a plain kserve.Model that calls the SavedModel in its loop, as KServe's guide shows it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import kserve
import tensorflow as tf

from shipway.artifacts import ModelManifest
from shipway.recipes import dense, load_recipe
from shipway.scoring.runtimes import open_saved_model


class Plain(kserve.Model):  # type: ignore[misc]
    """Encodes with the same encoder, calls the SavedModel's signature, names the best class and five probabilities."""

    def __init__(self, name: str, folder: Path) -> None:
        super().__init__(name)
        self.labels = ModelManifest.read(folder / "manifest.json").labels
        self.encoder = load_recipe("intents").load_encoder(json.loads((folder / "encoder.json").read_text()))
        self.loaded = open_saved_model(folder / "saved_model")
        self.signature = self.loaded.signatures["serving_default"]
        self.predict({"instances": ["warm up"]})
        self.ready = True

    def predict(self, payload: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        inputs = {name: tf.constant(value) for name, value in dense(self.encoder.encode(payload["instances"])).items()}
        predictions = []
        for row in self.signature(**inputs)["probabilities"].numpy():
            best = (-row).argsort()[:5]
            predictions.append(
                {"label": self.labels[best[0]], "probabilities": {self.labels[i]: float(row[i]) for i in best}}
            )
        return {"predictions": predictions}


if __name__ == "__main__":
    kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False).start([Plain("bench", Path(sys.argv[1]))])
