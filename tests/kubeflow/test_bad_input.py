"""What Kubeflow refuses is one clear line, and nothing is started."""

from __future__ import annotations

import pytest

from tests.kubeflow.place import Place


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["submit", "train-and-deplyo", "--param", "name=a", "data=s3://b/c"], "did you mean 'train-and-deploy'"),
        (["submit", "train-and-deploy@9.9.9", "--param", "name=a", "data=s3://b/c"], "has no version '9.9.9'"),
        (["submit", "{published}", "--param", "name=a", "data=s3://b/c", "epochs=many"], "epochs: got 'many'"),
        (["submit", "{published}", "--param", "name=a", "data=s3://b/c", "presett=quick"], "did you mean 'preset'"),
        (["submit", "{published}", "--param", "data=s3://b/c"], "name: missing"),
        (["publish", "train_and_deploy", "--version", "{version}", "--secret", "another", "--no-pin"], "other content"),
        (["watch", "00000000-0000-0000-0000-000000000000"], "not found"),
        (["schedule", "delete", "there-is-none"], "no 'there-is-none'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(place: Place, published: str, given: list[str], message: str) -> None:
    words = [word.format(published=published, version=place.version) for word in given]
    told = place.shipway(*words, code=2)
    errors = [line for line in told.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1, told.stderr
    assert message in errors[0]


def test_a_name_that_leaves_no_room_is_refused_before_anything_is_made(place: Place, published: str) -> None:
    long = f"kft-{place.mark}-" + "x" * 240
    told = place.shipway(
        "schedule", "create", published, "--when", "every day at 01:00", "--name", long, "--param", "name=a",
        "data=s3://b/c", code=2,
    )  # fmt: skip
    assert "error:" in told.stderr
    assert long not in str(place.json("schedule", "list"))
