"""Writes the model that `serve` asks: the intents recipe as it is by default, 60 classes, weights as they begin.

Its speed does not depend on what the weights say; run as a process of its own, since it imports TensorFlow.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from pathlib import Path
from typing import Any

import polars as pl

from shipway.artifacts import FeatureSpec, FileRef, ModelManifest, Variant
from shipway.recipes import load_recipe
from shipway.tasks import task_of

CLASSES = 60
ROWS = 3000


def rows() -> pl.DataFrame:
    """Utterances of 3 to 12 words, each class with some words of its own."""
    chooser = random.Random(7)
    words = ["".join(chooser.choices("abcdefghijklmnoprstuvw", k=chooser.randint(2, 9))) for _ in range(1500)]
    texts, labels = [], []
    for i in range(ROWS):
        label = i % CLASSES
        own = words[label * 10 : label * 10 + 10]
        texts.append(" ".join(chooser.choice(own if chooser.random() < 0.3 else words) for _ in range(3 + i % 10)))
        labels.append(f"intent_{label:02d}")
    return pl.DataFrame({"text": texts, "label": labels})


def main(folder: Path, sentence_encoder: str) -> None:
    """saved_model/, model.onnx, encoder.json and manifest.json below `folder`."""
    import tensorflow as tf
    import tf2onnx

    recipe = load_recipe("intents")
    task, constants = task_of(recipe), {"temperature": 1.0, "usual_similarity": 0.5}
    outputs = {"probabilities": FeatureSpec(dtype="float32", shape=[CLASSES])}
    if sentence_encoder != "none":
        outputs["sureness"] = FeatureSpec(dtype="float32", shape=[])
    frame = rows()
    encoder = recipe.fit_encoder([frame], recipe.EncoderParams(sentence_encoder=sentence_encoder))
    model = recipe.build_model(recipe.Params(), encoder)
    names = sorted(encoder.features)
    types = {"int64": tf.int64, "float32": tf.float32, "bytes": tf.string}
    specs = [
        tf.TensorSpec([None, *encoder.features[name].shape], types[encoder.features[name].dtype], name=name)
        for name in names
    ]
    module = tf.Module()
    module.model = model

    def serve(*tensors: Any) -> dict[str, Any]:
        return task.head.serve(model(dict(zip(names, tensors, strict=True)), training=False), constants)

    module.serve = tf.function(serve, input_signature=specs)
    tf.saved_model.save(module, str(folder / "saved_model"), signatures={"serving_default": module.serve})
    tf2onnx.convert.from_function(module.serve, input_signature=specs, opset=17, output_path=str(folder / "model.onnx"))
    (folder / "encoder.json").write_text(json.dumps(encoder.to_document()), encoding="utf-8")
    files = [
        FileRef(
            path=path.relative_to(folder).as_posix(),
            size_bytes=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    encoder_file, graph, *saved = files  # sorted: encoder.json, model.onnx, saved_model/...
    variants = [
        Variant(name="onnx", format="onnx", path="model.onnx", files=[graph]),
        Variant(name="saved_model", format="saved_model", path="saved_model", files=saved),
    ]
    ModelManifest(
        name="bench", uri=folder.as_uri(), recipe="intents", params={}, labels=list(encoder.labels),
        inputs=encoder.features, outputs=outputs, constants=constants, encoder=encoder_file, weights=graph.sha256,
        variants=variants, serving="onnx", dataset_uri=folder.as_uri(), dataset_fingerprint="none", job="none",
        strategy="single", workers=1, steps=0, epochs=0,
    ).write(folder / "manifest.json")  # fmt: skip
    (folder / "texts.json").write_text(json.dumps(frame["text"].to_list()), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
