"""The Secret through which every pod of ours finds object storage, and how a pipeline's tasks come by it.

Kubeflow gives a task's pod no environment of its own: what a step needs stands in the compiled pipeline, by the name of
a Secret and of its keys, never by a value. Replicas and endpoints, whose pods we render ourselves, take a Secret whole
(`shipway.executors.kubernetes.rendering`): one of their own with fewer rights where this one names it, else the same.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shipway.errors import InvalidSpec
from shipway.references import DATA

DEFAULT_SECRET = "shipway-store"
STORE_SECRET = "SHIPWAY_STORE_SECRET"  # variable: the Secret's name, where it isn't the default
# Keys: the Secrets of what steps launch, whose keys need reach less (`shipway store policy`).
REPLICA_SECRET, PREDICTOR_SECRET = "SHIPWAY_REPLICA_SECRET", "SHIPWAY_PREDICTOR_SECRET"
# Key, which is also the variable's name -> what one looks like.
KEYS = {
    "AWS_ENDPOINT_URL": "http://seaweedfs.kubeflow.svc:9000",
    "AWS_ACCESS_KEY_ID": "YOUR-KEY",
    "AWS_SECRET_ACCESS_KEY": "YOUR-SECRET",
    "AWS_REGION": "us-east-1",
    "SHIPWAY_STORE": "s3://BUCKET/shipway",
}
REQUIRED = tuple(KEYS)
OPTIONAL = (
    "SHIPWAY_WEBHOOK",
    REPLICA_SECRET,
    PREDICTOR_SECRET,
    DATA,
)  # of one Secret or another, but no reason for a pod not to start
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def use_store(task: Any, secret: str = DEFAULT_SECRET) -> Any:
    """Gives a task of a pipeline the store's Secret as environment; without it the step cannot start on Kubeflow.

    `shipway compile` and `publish` do so for every task that runs one of our images. Whoever compiles with kfp's own
    compiler says it here, task by task.

    Args:
        task: A kfp `PipelineTask`.
        secret: Name of the Secret in the namespace where the run's pods are.

    Returns:
        The task.
    """
    from kfp import kubernetes

    check_name(secret)
    kubernetes.use_secret_as_env(task, secret, {key: key for key in REQUIRED})
    kubernetes.use_secret_as_env(task, secret, {key: key for key in OPTIONAL}, optional=True)
    if secret != DEFAULT_SECRET:
        task.set_env_variable(STORE_SECRET, secret)
    return task


def give_store(ir: Mapping[str, Any], platform: dict[str, Any], secret: str, our_images: set[str]) -> None:
    """The same for a compiled pipeline: every executor that runs one of our images takes the Secret of that name.

    Args:
        ir: The pipeline spec; executors learn the Secret's name where it isn't the default.
        platform: The platform spec, changed in place.
        secret: Name of the Secret; one that the pipeline's author named by `use_store` stays.
        our_images: References that count as ours.
    """
    check_name(secret)
    executors = platform.setdefault("platforms", {}).setdefault("kubernetes", {}).setdefault("deploymentSpec", {})
    settings = executors.setdefault("executors", {})
    for label, executor in ir["deploymentSpec"]["executors"].items():
        container = executor.get("container")
        if not container or container["image"] not in our_images:
            continue
        given = settings.setdefault(label, {}).setdefault("secretAsEnv", [])
        named = {entry.get("secretName") for entry in given if "SHIPWAY_STORE" in _variables(entry)}
        if named - {DEFAULT_SECRET}:
            continue
        settings[label]["secretAsEnv"] = [entry for entry in given if entry.get("secretName") not in named]
        settings[label]["secretAsEnv"] += [_entry(secret, REQUIRED), {**_entry(secret, OPTIONAL), "optional": True}]
        if secret != DEFAULT_SECRET:
            container.setdefault("env", []).append({"name": STORE_SECRET, "value": secret})


def check_name(secret: str) -> None:
    """Raises InvalidSpec where no Secret can be called so."""
    if not _NAME.fullmatch(secret):
        raise InvalidSpec(
            f"{secret!r} is not a Secret's name: lower case letters, digits, dashes and dots",
            field="secret",
            given=secret,
        )


def _entry(secret: str, keys: tuple[str, ...]) -> dict[str, Any]:
    """As kfp-kubernetes writes it: KFP 2.17 reads the parameter, older ones the name."""
    return {
        "keyToEnv": [{"envVar": key, "secretKey": key} for key in keys],
        "secretName": secret,
        "secretNameParameter": {"runtimeValue": {"constant": secret}},
    }


def _variables(entry: Mapping[str, Any]) -> set[str]:
    return {each.get("envVar", "") for each in entry.get("keyToEnv", [])}
