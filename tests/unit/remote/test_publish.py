from __future__ import annotations

import pytest

from shipway import images
from shipway.errors import InvalidSpec, NotFound, VersionConflict
from shipway.remote import Connection
from shipway.remote.content import version_name
from tests.fixtures.kfp_server import KfpServer
from tests.unit.remote.conftest import DIGESTS, SMALL

SMALLER = SMALL.replace(":small", ":smaller")


def test_the_first_publication_makes_the_pipeline_and_its_version(kubeflow: Connection, server: KfpServer) -> None:
    done = kubeflow.publish("train_and_deploy", digests=DIGESTS)
    assert (done.pipeline, done.version, done.is_new) == ("train-and-deploy", "train-and-deploy-v0-1-0", True)
    (pipeline,) = server.state.pipelines.values()
    assert pipeline.description.startswith("Prepare, sweep, train")
    (version,) = server.state.versions.values()
    assert f"content sha256:{done.content}" in version.description
    assert "platform_spec" in version.pipeline_spec  # timeouts stand there


def test_every_image_is_pinned_by_digest(kubeflow: Connection, server: KfpServer) -> None:
    done = kubeflow.publish("train_and_deploy", digests=DIGESTS)
    assert all("@sha256:" in image for image in done.images)
    (version,) = server.state.versions.values()
    executors = version.pipeline_spec["pipeline_spec"]["deploymentSpec"]["executors"]
    assert {one["container"]["image"] for one in executors.values()} == set(done.images)


def test_a_digest_that_nobody_gives_is_asked_of_the_registry(kubeflow: Connection, server: KfpServer) -> None:
    registry = server.url.removeprefix("http://")
    for name, digest in DIGESTS.items():
        server.state.images[f"ml/python-{name}:{images.VERSION}"] = digest
    done = kubeflow.publish("train_and_deploy", registry=f"{registry}/ml")
    assert set(done.images) == {f"{registry}/ml/python-{name}@{digest}" for name, digest in DIGESTS.items()}


def test_replicas_of_steps_are_pinned_too_where_the_registry_has_their_images(
    kubeflow: Connection, server: KfpServer
) -> None:
    registry = server.url.removeprefix("http://")
    known = {**DIGESTS, "horovod": "sha256:" + "e" * 64}
    for name, digest in known.items():
        server.state.images[f"ml/python-{name}:{images.VERSION}"] = digest
    done = kubeflow.publish("train_and_deploy", registry=f"{registry}/ml")
    (version,) = server.state.versions.values()
    executor = next(iter(version.pipeline_spec["pipeline_spec"]["deploymentSpec"]["executors"].values()))
    told = images.references({one["name"]: one["value"] for one in executor["container"]["env"]}[images.VARIABLE])
    assert told["horovod"] == f"{registry}/ml/python-horovod@{known['horovod']}"
    assert told["predictor"] == f"{registry}/ml/python-predictor:{images.VERSION}"
    assert [note for note in done.notes if "python-predictor" in note and "goes by its tag" in note]


def test_an_image_that_the_registry_does_not_know_is_refused_with_what_to_do(
    kubeflow: Connection, server: KfpServer
) -> None:
    with pytest.raises(InvalidSpec, match=r"answered 404; give it \(--digest launcher=sha256.*--no-pin"):
        kubeflow.publish("train_and_deploy", registry=f"{server.url.removeprefix('http://')}/ml")
    assert server.state.pipelines == {}


def test_the_same_content_again_does_nothing(kubeflow: Connection, server: KfpServer) -> None:
    first = kubeflow.publish(SMALL, version="1.0", pin=False)
    before = [r for r in server.requests if r[0] != "GET"]
    again = kubeflow.publish(SMALL, version="1.0", pin=False)
    assert (again.is_new, again.version_id, again.content) == (False, first.version_id, first.content)
    assert [r for r in server.requests if r[0] != "GET"] == before


def test_other_content_under_the_same_version_is_refused(kubeflow: Connection, server: KfpServer) -> None:
    kubeflow.publish(SMALL, version="1.0", pin=False)
    with pytest.raises(VersionConflict, match=r"small-v1-0 is published with other content.*raise the version"):
        kubeflow.publish(SMALLER, version="1.0", pin=False)
    assert len(server.state.versions) == 1


def test_a_version_that_somebody_uploaded_without_our_mark_is_compared_by_what_it_holds(
    kubeflow: Connection, server: KfpServer
) -> None:
    kubeflow.publish(SMALL, version="1.0", pin=False)
    (version,) = server.state.versions.values()
    version.description = "by hand"
    assert kubeflow.publish(SMALL, version="1.0", pin=False).is_new is False
    with pytest.raises(VersionConflict):
        kubeflow.publish(SMALLER, version="1.0", pin=False)


def test_a_new_version_becomes_the_current_one_and_an_old_one_published_again_does_not(
    kubeflow: Connection, server: KfpServer
) -> None:
    kubeflow.publish(SMALL, version="1.0", pin=False)
    kubeflow.publish(SMALLER, version="2.0", pin=False)
    assert kubeflow.prepare("small").target.version == "small-v2-0"
    old = kubeflow.publish(SMALL, version="1.0", pin=False)
    assert kubeflow.prepare("small").target.version == "small-v2-0"
    assert "current stays small-v2-0, which is newer" in old.notes


def test_a_version_beside_the_current_one_leaves_it(kubeflow: Connection, server: KfpServer) -> None:
    kubeflow.publish(SMALL, version="1.0", pin=False)
    beside = kubeflow.publish(SMALLER, version="2.0-rc1", pin=False, current=False)
    assert server.state.versions[beside.version_id].tags == {"shipway-publish": "beside"}
    assert kubeflow.prepare("small").target.version == "small-v1-0"
    assert kubeflow.prepare("small@2.0-rc1").target.version == "small-v2-0-rc1"


def test_a_version_that_stood_beside_becomes_the_current_one_when_it_is_published_again(
    kubeflow: Connection, server: KfpServer
) -> None:
    kubeflow.publish(SMALL, version="1.0", pin=False)
    beside = kubeflow.publish(SMALLER, version="2.0", pin=False, current=False)
    server.state.versions[beside.version_id].tags["team"] = "bots"  # a tag of somebody else's stays
    again = kubeflow.publish(SMALLER, version="2.0", pin=False)
    assert (again.is_new, again.notes) == (False, ["images go by their tags (--no-pin): what a tag points at may "
                                                   "change under a published version"])  # fmt: skip
    assert kubeflow.prepare("small").target.version == "small-v2-0"
    assert server.state.versions[beside.version_id].tags == {"shipway-publish": "current", "team": "bots"}


def test_of_two_publishers_the_later_versions_is_current_whoever_ends_first(
    kubeflow: Connection, server: KfpServer
) -> None:
    """The first one's upload is done, the second publishes, then the first goes on: nothing moves back."""
    kubeflow.publish(SMALL, version="1.0", pin=False)
    seen = []

    def meanwhile(method: str) -> bool:
        if method == "GET" and len(server.state.versions) == 2 and not seen:
            seen.append(True)
            kubeflow.publish(SMALL.replace(":small", ":smaller"), version="3.0", pin=False)
        return False

    server.block = meanwhile
    kubeflow.publish(SMALLER, version="2.0", pin=False)
    server.block = None
    assert seen
    assert kubeflow.prepare("small").target.version == "small-v3-0"


def test_schedules_that_take_the_newest_version_are_told_of_one_beside(kubeflow: Connection) -> None:
    """Kubeflow's own rule for them knows no tags."""
    kubeflow.publish(SMALL, version="1.0", pin=False)
    kubeflow.schedule("small", "@daily", name="floats")
    kubeflow.schedule("small@1.0", "@daily", name="pinned")
    beside = kubeflow.publish(SMALLER, version="2.0", pin=False, current=False)
    assert "take the newest version, this one too, unless one is pinned: floats (" in " ".join(beside.notes)


def test_a_kubeflow_without_tags_says_that_submit_takes_the_newest_version(
    kubeflow: Connection, server: KfpServer
) -> None:
    server.state.has_tags = False
    kubeflow.publish(SMALL, version="1.0", pin=False)
    done = kubeflow.publish(SMALLER, version="2.0", pin=False, current=False)
    assert "small-v2-0 is what submit takes without a version" in " ".join(done.notes)
    assert kubeflow.prepare("small").target.version == "small-v2-0"


@pytest.mark.parametrize(
    ("path", "after"), [("/pipelines", True), ("/upload_version", True), ("/upload_version", False)]
)
def test_a_lost_answer_publishes_once(kubeflow: Connection, server: KfpServer, path: str, after: bool) -> None:
    server.faults.add("POST", path, after=after, reset=True)
    done = kubeflow.publish(SMALL, version="1.0", pin=False)
    assert [v.pipeline_version_id for v in server.state.versions.values()] == [done.version_id]
    assert len(server.state.pipelines) == 1


def test_a_pipeline_of_ones_own_needs_a_version(kubeflow: Connection) -> None:
    with pytest.raises(InvalidSpec, match="your own pipeline: say its version"):
        kubeflow.publish(SMALL)
    with pytest.raises(NotFound, match="unknown pipeline 'train_and_depoy'"):
        kubeflow.publish("train_and_depoy")


@pytest.mark.parametrize(
    ("version", "name"), [("1.4.0", "p-v1-4-0"), ("2.0-RC_1", "p-v2-0-rc-1"), ("2026.11.21+a", "p-v2026-11-21-a")]
)
def test_a_versions_name_is_safe_as_a_resource_name(version: str, name: str) -> None:
    assert version_name("p", version) == name
