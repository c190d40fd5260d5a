"""Compiles a pipeline to KFP IR YAML, with the images that a company mirrors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from shipway import images
from shipway.context import TITLE
from shipway.dag import tasks_of
from shipway.errors import InvalidSpec
from shipway.store_secret import DEFAULT_SECRET, give_store

_DIGEST = re.compile(r"^sha256:[0-9a-f]{64}$")
_REGISTRY = re.compile(r"^[a-z0-9.\-]+(:\d+)?(/[a-z0-9._\-]+)*$")


def compile_pipeline(
    pipeline: str,
    out: Path,
    *,
    registry: str | None = None,
    digests: Mapping[str, str] | None = None,
    secret: str = DEFAULT_SECRET,
) -> Path:
    """Writes the pipeline's IR, with all that its steps need to run on Kubeflow but the values of a Secret.

    Args:
        pipeline: As for `shipway.run`.
        out: File to write, `.yaml`.
        registry: Registry and path in place of the package's default, `registry.example.com/ml`.
        digests: Image's short name (launcher, tensorflow, ...) -> `sha256:...`, to pin what the tag points at.
        secret: Name of the Secret that leads to storage, in the namespace where the run's pods are.

    With either, each step also learns the references (SHIPWAY_IMAGES): the jobs and endpoints that it makes at run time
    follow the same registry and digests.

    Raises:
        InvalidSpec: unknown image name, malformed registry, digest or Secret's name; tasks that wait for each other.
    """
    from kfp import compiler

    from shipway.planning import find

    if out.suffix not in (".yaml", ".yml"):
        raise InvalidSpec(
            f"{str(out)!r} must end in .yaml; KFP takes the format from the name", field="out", given=str(out)
        )
    names = rewritten(registry, digests or {})
    function = find(pipeline).function
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part.yaml")
    try:
        compiler.Compiler().compile(function, str(part))
        documents = [_with_images(document, names) for document in yaml.safe_load_all(part.read_text(encoding="utf-8"))]
        tasks_of(documents[0])  # refuses tasks that wait for each other
        if len(documents) == 1:
            documents.append({})  # without any setting of Kubernetes' kfp writes no platform spec
        give_store(documents[0], documents[1], secret, set(names.values()))
        _tell_titles(documents[0], set(names.values()))
        if registry is not None or digests:
            _tell_steps(documents[0], names)
        text = yaml.safe_dump_all(documents, sort_keys=True, width=120, allow_unicode=True)
        part.write_text(_header(function) + text, encoding="utf-8")
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
    return out


def rewritten(registry: str | None, digests: Mapping[str, str]) -> dict[str, str]:
    """Default image reference -> the one to run."""
    for name, digest in digests.items():
        if name not in images.ALL:
            raise InvalidSpec("unknown image", field="digest", given=name, allowed=images.ALL)
        if not _DIGEST.match(digest):
            raise InvalidSpec(field=f"digest: {name}", given=digest, allowed="sha256: and 64 hexadecimal digits")
    if registry is not None and not _REGISTRY.match(registry):
        raise InvalidSpec(
            f"{registry!r} is not host[:port][/path] in lower case, without a scheme", field="registry", given=registry
        )
    addresses: dict[str, str] = {}
    for name, image in images.ALL.items():
        repository, tag = image.rsplit(":", 1)
        if registry is not None:
            repository = f"{registry.rstrip('/')}/{repository.rsplit('/', 1)[1]}"
        addresses[image] = f"{repository}@{digests[name]}" if name in digests else f"{repository}:{tag}"
    return addresses


def _with_images(node: Any, names: Mapping[str, str]) -> Any:
    """Every `image` of the IR, rewritten."""
    if isinstance(node, dict):
        return {
            key: names.get(value, value) if key == "image" and isinstance(value, str) else _with_images(value, names)
            for key, value in node.items()
        }
    return [_with_images(item, names) for item in node] if isinstance(node, list) else node


def _tell_steps(ir: dict[str, Any], names: Mapping[str, str]) -> None:
    """Puts the references into the environment of every step; what a person set there already stays."""
    value = json.dumps({name: names[image] for name, image in images.ALL.items()}, sort_keys=True)
    for executor in ir["deploymentSpec"]["executors"].values():
        variables = executor.get("container", {}).setdefault("env", [])
        if all(one["name"] != images.VARIABLE for one in variables):
            variables.append({"name": images.VARIABLE, "value": value})


def _tell_titles(ir: dict[str, Any], our_images: set[str]) -> None:
    """Puts each task's display name into its step's environment: Kubeflow tells a step none, and its API has none.

    An executor that several tasks share has it only where all of them are called alike.
    """
    dags = [ir["root"]["dag"], *(one["dag"] for one in ir["components"].values() if "dag" in one)]
    titles: dict[str, set[str]] = {}
    for name, task in ((name, task) for dag in dags for name, task in dag["tasks"].items()):
        label = ir["components"][task["componentRef"]["name"]].get("executorLabel", "")
        titles.setdefault(label, set()).add(str((task.get("taskInfo") or {}).get("name") or name))
    for label, executor in ir["deploymentSpec"]["executors"].items():
        container, (title, *others) = executor.get("container"), sorted(titles.get(label, {""}))
        if container and container["image"] in our_images and title and not others:
            container.setdefault("env", []).append({"name": TITLE, "value": title})


def _header(function: Any) -> str:
    """KFP reads a pipeline's description from the IR; people read this comment."""
    return f"# {function.name}, compiled by Shipway {images.VERSION}; change the pipeline, not this file\n"
