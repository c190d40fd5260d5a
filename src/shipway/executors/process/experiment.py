"""Katib's Experiment on this machine: a job of one replica, which stands in for Katib's controller.

It starts the trials as jobs of their own through the same executor; they end with it, since it is what follows them.
"""

from __future__ import annotations

import importlib
import json
from typing import Any

from shipway import images
from shipway.executors.base import Manifest

KIND = "Experiment"
CONTROLLER = "shipway.components.sweep.controller"  # a command, not an import: it runs where the image has Optuna
READER = "shipway.components.sweep.experiment"


def controller_job(manifest: Manifest) -> Manifest:
    """The TFJob of one replica that plays an Experiment.

    Raises:
        InvalidSpec: names the path of the field that is wrong or cannot be honoured here.
    """
    importlib.import_module(READER).read(manifest)
    container: dict[str, Any] = {
        "name": "tensorflow",
        "image": images.TENSORFLOW,
        "command": ["python", "-m", CONTROLLER],
        "env": [{"name": "SHIPWAY_EXPERIMENT", "value": json.dumps(manifest, sort_keys=True)}],
    }
    replica = {"replicas": 1, "restartPolicy": "Never", "template": {"spec": {"containers": [container]}}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "TFJob",
        "metadata": manifest["metadata"],
        "spec": {"runPolicy": {"backoffLimit": 0}, "tfReplicaSpecs": {"Chief": replica}},
    }
