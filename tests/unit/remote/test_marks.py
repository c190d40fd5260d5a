"""The description of a recurring run: short enough for Kubeflow's column, read back whole, known from copies."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shipway.errors import InvalidSpec
from shipway.remote import Connection
from shipway.remote.generations import list_schedules
from shipway.remote.marks import ROOM, SAID, read_mark
from tests.fixtures.kfp_server import KfpServer

START = datetime(2099, 12, 1, 8, tzinfo=UTC)


def test_a_mark_with_all_there_is_to_say_fits(
    kubeflow: Connection, server: KfpServer, published: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NB_USER", 'BÜRO\\"ada' + "x" * 300)
    made = kubeflow.schedule(
        published, "every monday and thursday at 01:30", name="train-and-deploy-my-bot",
        zone="America/Argentina/Cordoba",
        start=START, end=START + timedelta(days=100), experiment="my-experiment",
    )  # fmt: skip
    for job in server.state.recurring.values():
        assert len(job.description) <= ROOM
    assert made.said["by"].startswith("BÜROadax")
    expected = {
        "name": "train-and-deploy-my-bot", "when": "every monday and thursday at 01:30", "generation": 1,
        "zone": "America/Argentina/Cordoba", "experiment": "my-experiment", "start": START.isoformat(),
        "end": (START + timedelta(days=100)).isoformat(), "part": 1, "parts": len(made.parts),
    }  # fmt: skip
    assert {key: made.said[key] for key in expected} == expected


def test_what_does_not_fit_is_refused_before_anything_is_sent(
    kubeflow: Connection, server: KfpServer, published: str
) -> None:
    name = "n" * 200
    with pytest.raises(InvalidSpec, match=r"characters of description, and Kubeflow keeps 255; choose a --name"):
        kubeflow.schedule(published, "every monday at 01:00", name=name, zone="Europe/Berlin")
    assert server.sent("POST", "/recurringruns") == 0


def test_a_trigger_that_says_it_all_is_not_said_twice(kubeflow: Connection, server: KfpServer, published: str) -> None:
    made = kubeflow.schedule(published, "0 0 1 * * 1", name="weekly")
    (job,) = server.state.recurring.values()
    assert "0 0 1" not in job.description
    assert made.trigger == "0 0 1 * * 1"
    # In London one stretch's cron is what was said and another's is not: what was said must not be lost.
    assert kubeflow.schedule(published, "0 0 1 * * 1", name="london", zone="Europe/London").trigger == "0 0 1 * * 1"


def test_marks_of_older_versions_are_read(kubeflow: Connection, server: KfpServer, published: str) -> None:
    kubeflow.schedule(published, "@daily", name="nightly")
    (job,) = server.state.recurring.values()
    job.description = (
        SAID + '{"name": "nightly", "when": "@hourly", "zone": "UTC", "generation": 3, "part": 1, "parts": 1, '
        '"by": "ada@notebook", "experiment": "Default", "mark": "0a1b2c3d"}'
    )
    (listed,) = list_schedules(kubeflow.api)
    assert (listed.trigger, listed.is_whole, listed.said["generation"]) == ("@hourly", True, 3)
    assert kubeflow.change_schedule("nightly").said["generation"] == 4


@pytest.mark.parametrize("spoilt", ["", "{", "[]", '{"n":"nightly","g":"x"}', '{"n":""}', '{"g":1}'])
def test_a_description_that_somebody_wrote_is_nobodys_mark(
    kubeflow: Connection, server: KfpServer, published: str, spoilt: str
) -> None:
    kubeflow.schedule(published, "@daily", name="nightly")
    (job,) = server.state.recurring.values()
    job.description = SAID + spoilt
    assert read_mark(job) == {}
    (listed,) = list_schedules(kubeflow.api)
    assert (listed.name, listed.said) == ("nightly", {})
