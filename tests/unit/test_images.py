"""Image references: the package's, and a company's."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from shipway import images
from shipway.errors import InvalidSpec

MIRROR = "registry.example.com/ml/python-horovod@sha256:" + "b" * 64
RENDER = """
import json
from shipway.components.train import core
from shipway.components.train.spec import TrainingSpec
spec = TrainingSpec(name="bot", strategy="horovod", workers=2)
print(json.dumps(core.render(spec, "bot", "s3://b/d", store_uri="s3://b")))
"""


def test_without_a_setting_the_packages_own_version_is_named() -> None:
    assert images.references(None)["launcher"] == f"ghcr.io/shipway/python-launcher:{images.VERSION}"


def test_a_step_renders_jobs_with_the_images_that_its_environment_names() -> None:
    env = {**os.environ, images.VARIABLE: json.dumps({"horovod": MIRROR})}
    text = subprocess.check_output([sys.executable, "-c", RENDER], env=env, text=True)
    roles = json.loads(text)["spec"]["mpiReplicaSpecs"].values()
    assert [role["template"]["spec"]["containers"][0]["image"] for role in roles] == [MIRROR, MIRROR]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("registry.example.com", "SHIPWAY_IMAGES: not JSON"),
        ('["a"]', "not an object of image references"),
        ('{"horovod": ""}', "not an object of image references"),
        ('{"horrovod": "a"}', "unknown image 'horrovod'; expected one of launcher"),
    ],
)
def test_a_setting_that_names_no_images_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        images.references(text)
