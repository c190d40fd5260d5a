"""Names: stable for the same work, different for other work, valid wherever they are used."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway import labels
from shipway.executors import identity
from tests.fixtures.manifests import tfjob

words = st.text(max_size=80)


@settings(deadline=None)
@given(words, words, words, words)
def test_a_job_name_is_a_valid_label_with_room_for_an_attempt(name: str, run: str, task: str, iteration: str) -> None:
    made = identity.job_name(name, run, task, iteration)
    assert identity.DNS_1035.fullmatch(made)
    assert len(made) <= identity.BASE_NAME_MAX
    assert len(identity.attempt_name(made, 999)) <= identity.JOB_NAME_MAX


@settings(deadline=None)
@given(st.tuples(words, words, words, words), st.tuples(words, words, words, words))
def test_job_names_are_equal_only_for_equal_work(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert (identity.job_name(*one) == identity.job_name(*other)) == (one == other)


def test_a_job_name_can_be_read_and_does_not_change_with_the_version() -> None:
    assert identity.job_name("Home Bot", "train-and-deploy-1", "train") == "home-bot-train-f5f7473a4c"
    assert identity.job_name("9 lives", "r", "train") == "j9-lives-train-7bf0812641"


def test_a_run_key_follows_parameters_and_fingerprints_and_not_their_order() -> None:
    key = identity.run_key("train_and_deploy", {"name": "a", "epochs": 3}, {"data": "1"})
    assert key == identity.run_key("train_and_deploy", {"epochs": 3, "name": "a"}, {"data": "1"})
    assert key.startswith("train-and-deploy-")
    others = [
        identity.run_key("train_and_deploy", {"name": "a", "epochs": 4}, {"data": "1"}),
        identity.run_key("train_and_deploy", {"name": "a", "epochs": 3}, {"data": "2"}),
        identity.run_key("other", {"name": "a", "epochs": 3}, {"data": "1"}),
    ]
    assert len({key, *others}) == 4


@settings(deadline=None)
@given(st.from_regex(identity.DNS_1035, fullmatch=True), st.integers(0, 999))
def test_an_attempts_name_splits_into_what_it_was_made_of(base: str, attempt: int) -> None:
    if identity.split_attempt(base)[1] == 0:  # a base that ends in -r1 itself is read as an attempt
        assert identity.split_attempt(identity.attempt_name(base, attempt)) == (base, attempt)


def test_the_spec_hash_covers_the_spec_and_nothing_else() -> None:
    manifest = tfjob("a", {"Worker": "pass"})
    assert identity.spec_hash(manifest) == identity.spec_hash(tfjob("b", {"Worker": "pass"}))
    assert identity.spec_hash(manifest) != identity.spec_hash(tfjob("a", {"Worker": "pass "}))
    assert len(identity.spec_hash(manifest)) == 64


def test_stamping_labels_a_copy_and_keeps_what_was_there() -> None:
    manifest = tfjob("a", {"Worker": "pass"})
    manifest["metadata"]["labels"] = {"team": "x"}
    before = copy.deepcopy(manifest)
    stamped = identity.stamp(manifest, name="My Bot!", run="r" * 80, task="train", job="new", namespace="ns")
    assert manifest == before
    assert stamped["metadata"]["name"] == "new"
    assert stamped["metadata"]["namespace"] == "ns"
    given = stamped["metadata"]["labels"]
    assert given["team"] == "x"
    assert (given[labels.NAME], given[labels.RUN]) == ("My-Bot", "r" * 63)
    assert stamped["metadata"]["annotations"][labels.SPEC_HASH] == identity.spec_hash(stamped)


@pytest.mark.parametrize("text", ["Ä", "___", ""])
def test_a_slug_of_nothing_usable_is_still_a_name(text: str) -> None:
    assert identity.slug(text, 10, default="x") == "x"
