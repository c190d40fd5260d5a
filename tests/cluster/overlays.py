"""The overlays of manifests/, as a test installs them: in a namespace of its own, with the bed's store."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from tests.cluster.bed.kubectl import Kubectl

MANIFESTS = Path(__file__).parents[2] / "manifests"
OVERLAYS = sorted(path.parent.name for path in (MANIFESTS / "overlays").glob("*/kustomization.yaml"))
COMPONENTS = sorted(path.parent.name for path in (MANIFESTS / "components").glob("*/kustomization.yaml"))
# Kinds whose operators the bed does not have.
ABSENT = ("kueue.x-k8s.io", "monitoring.coreos.com")
COUNTED_S = 120.0


def built(kubectl: Kubectl, folder: Path) -> list[dict[str, Any]]:
    """The objects that a kustomization makes."""
    rendered = kubectl("kustomize", "--load-restrictor=LoadRestrictionsNone", str(folder))
    return [each for each in yaml.safe_load_all(rendered) if each]


def overlay(
    folder: Path, name: str, namespace: str, components: tuple[str, ...] = (), manifests: Path = MANIFESTS
) -> Path:
    """A kustomization in `folder` that puts an overlay into another namespace; the components join it.

    Each test has a namespace of its own, which is all that it changes by kustomize.
    """
    # kustomize refuses absolute paths, and follows no link out of its root.
    above = Path(*[".."] * len(folder.resolve().parts[1:]))
    document = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": namespace,
        "resources": [str(above / str(manifests / "overlays" / name)[1:])],
        "components": [str(above / str(manifests / "components" / each)[1:]) for each in components],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return folder


def install(kubectl: Kubectl, folder: Path, name: str, namespace: str, store: Mapping[str, str]) -> None:
    """Applies an overlay for real, from a copy in which the bed's store is filled in."""
    manifests = shutil.copytree(MANIFESTS, folder / "manifests")
    _fill_in(manifests / "overlays" / name, store)
    objects = [
        _named(each, namespace) for each in built(kubectl, overlay(folder, name, namespace, manifests=manifests))
    ]
    kubectl.apply(document={"apiVersion": "v1", "kind": "List", "items": objects})
    for each in objects:
        if each["kind"] == "ResourceQuota":
            _await_counted(kubectl, each["metadata"]["name"], namespace)


def _fill_in(folder: Path, store: Mapping[str, str]) -> None:
    """As docs/manifests.md asks: values of the keys that are there, and the same address in KServe's annotation."""
    file, kustomization = folder / "store.env", folder / "kustomization.yaml"
    lines = file.read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    file.write_text("".join(f"{key}={store[key]}\n" for key in given), encoding="utf-8")
    there, here = (urlsplit(each["AWS_ENDPOINT_URL"]).netloc for each in (given, store))
    text = kustomization.read_text(encoding="utf-8")
    assert text.count(there) == 1, f"{kustomization} names {there} once, as store.env does"
    kustomization.write_text(text.replace(there, here), encoding="utf-8")


def _await_counted(kubectl: Kubectl, name: str, namespace: str) -> None:
    """On a fresh cluster the controller learns of new kinds every half minute; until then all of them are refused."""
    until = time.monotonic() + COUNTED_S
    while True:
        quota = kubectl.get("resourcequota", name, "-n", namespace)
        if set(quota["spec"]["hard"]) == set((quota.get("status") or {}).get("used") or {}):
            return
        assert time.monotonic() < until, f"quota {name} is not counted: {quota}"
        time.sleep(0.5)


def stored(environment: Mapping[str, str], uri: str) -> dict[str, str]:
    """The Secret's keys for the bed's store."""
    return {key: value for key, value in environment.items() if key.startswith("AWS_")} | {"SHIPWAY_STORE": uri}


def role(objects: list[dict[str, Any]], name: str) -> dict[str, Any]:
    """A Role among built objects, free to be changed."""
    found = next(each for each in objects if each["kind"] == "Role" and each["metadata"]["name"] == name)
    copied: dict[str, Any] = json.loads(json.dumps(found))
    return copied


def _named(document: dict[str, Any], namespace: str) -> dict[str, Any]:
    """The overlay's own Namespace keeps its name under kustomize's `namespace`."""
    if document["kind"] == "Namespace":
        document["metadata"]["name"] = namespace
    return document
