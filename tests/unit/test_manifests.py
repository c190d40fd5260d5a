"""What manifests/ says agrees with the code, and with its page."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from shipway import images, labels
from shipway.executors.kubernetes.permissions import LAUNCHER
from shipway.executors.kubernetes.rendering import DEFAULT_SECRET, PEERS
from shipway.executors.kubernetes.services import POD_LABEL
from shipway.store_secret import REQUIRED

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "manifests"
FILES = sorted(path for path in MANIFESTS.rglob("*") if path.is_file())
OVERLAYS = sorted(path.parent for path in (MANIFESTS / "overlays").glob("*/kustomization.yaml"))
PAGE = (ROOT / "docs" / "manifests.md").read_text(encoding="utf-8")
STATES = ("enforced", "applied", "built only")


def documents(path: Path) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if each]


def test_the_launchers_role_is_what_the_executor_needs() -> None:
    (role,) = (
        each for each in documents(MANIFESTS / "base/roles.yaml") if each["metadata"]["name"].endswith("launcher")
    )
    given = {
        (group, resource): tuple(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert given == {(each.group, each.resource): each.verbs for each in LAUNCHER}


def test_the_reaper_runs_from_the_launchers_image() -> None:
    (reaper,) = documents(MANIFESTS / "base/reaper.yaml")
    pod = reaper["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == images.DEFAULTS["launcher"]
    assert pod["containers"][0]["envFrom"] == [{"secretRef": {"name": DEFAULT_SECRET}}]


def test_every_overlay_has_one_place_for_the_registry_of_the_reapers_image() -> None:
    for folder in OVERLAYS:
        (kustomization,) = documents(folder / "kustomization.yaml")
        name = images.DEFAULTS["launcher"].rpartition(":")[0]
        assert kustomization["images"] == [{"name": name, "newName": name}]


def test_policies_about_endpoints_select_none_but_ours() -> None:
    (predictors,) = (
        each for each in documents(MANIFESTS / "base/network-policies.yaml")
        if each["metadata"]["name"] == "shipway-predictors"
    )  # fmt: skip
    (clients,) = documents(MANIFESTS / "components/clients/network-policy.yaml")
    for policy in (predictors, clients):
        assert policy["spec"]["podSelector"] == {
            "matchLabels": {labels.MANAGED_BY: "shipway"},
            "matchExpressions": [{"key": POD_LABEL, "operator": "Exists"}],
        }


def test_what_doctor_applies_again_is_what_carries_its_label_and_no_secret() -> None:
    """`labels` of the base; what overlays and components add has no such label."""
    (base,) = documents(MANIFESTS / "base/kustomization.yaml")
    assert base["labels"] == [{"pairs": {"app.kubernetes.io/part-of": "shipway"}}]
    others = [path for path in FILES if "base" not in path.parts]
    assert not any("app.kubernetes.io/part-of" in path.read_text(encoding="utf-8") for path in others)
    assert "Secret" not in {each["kind"] for path in (MANIFESTS / "base").glob("*.yaml") for each in documents(path)}


def test_network_policies_select_the_labels_that_replicas_carry() -> None:
    training = documents(MANIFESTS / "base/network-policies.yaml")[0]["spec"]
    assert training["podSelector"]["matchLabels"] == {labels.MANAGED_BY: "shipway"}
    assert training["podSelector"]["matchExpressions"] == [{"key": PEERS, "operator": "Exists"}]
    for folder in OVERLAYS:
        (storage,) = documents(folder / "storage.yaml")
        assert storage["spec"]["podSelector"] == {"matchLabels": {labels.MANAGED_BY: "shipway"}}, "predictors too"


@pytest.mark.parametrize("folder", OVERLAYS, ids=lambda folder: folder.name)
def test_the_secret_says_the_same_to_our_pods_and_to_kserve(folder: Path) -> None:
    lines = (folder / "store.env").read_text(encoding="utf-8").splitlines()
    keys = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    (kustomization,) = documents(folder / "kustomization.yaml")
    (secret,) = kustomization["secretGenerator"]
    told = secret["options"]["annotations"]
    endpoint = urlsplit(keys["AWS_ENDPOINT_URL"])
    assert set(keys) == set(REQUIRED), "a step that lacks one does not start"
    assert secret["name"] == DEFAULT_SECRET
    assert told["serving.kserve.io/s3-endpoint"] == endpoint.netloc
    assert told["serving.kserve.io/s3-usehttps"] == str(int(endpoint.scheme == "https"))
    assert told["serving.kserve.io/s3-region"] == keys["AWS_REGION"]


def test_the_page_says_of_every_file_how_far_it_is_tried() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|.*\| ([^|]+) \|$", PAGE, re.MULTILINE)
    assert sorted(path for path, _ in rows) == [str(path.relative_to(MANIFESTS)) for path in FILES]
    assert {state.split(":")[0].strip() for _, state in rows} <= set(STATES)


def test_nothing_asks_for_a_volume_claim() -> None:
    """As the page says: a new one belongs into its table, with what uses it."""
    texts = [path.read_text(encoding="utf-8") for path in FILES]
    assert not any("PersistentVolumeClaim" in text or "volumeClaimTemplates" in text for text in texts)
