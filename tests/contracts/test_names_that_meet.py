"""Nothing that is made for one model has the name of anything that is made for another."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipway import labels
from shipway.canonical import fingerprint
from shipway.components.deploy.core import inference_service
from shipway.components.deploy.spec import EndpointSpec
from shipway.context import Context
from shipway.errors import InvalidSpec
from shipway.executors import identity
from shipway.executors.process.service_state import endpoint_folder
from shipway.registry import aliases, reading, registry

TASKS = ("train", "sweep", "search")
REPLICAS = [f"{kind}-{i}" for kind in ("chief", "master", "worker", "ps", "evaluator", "launcher") for i in (0, 12)]
PIECES = [
    "a",
    "b",
    "9",
    "-",
    "-candidate",
    "-predictor",
    "-worker-0",
    "-r1",
    "-train",
    "shipway-",
    "champion",
    "x" * 12,
]


def is_allowed(name: str) -> bool:
    try:
        identity.check_model_name(name)
    except InvalidSpec:
        return False
    return True


NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join).filter(is_allowed)


def services(name: str) -> set[str]:
    """InferenceServices with what KServe makes of them, and jobs with the Services of their replicas."""
    spec = EndpointSpec(name=name)
    served = [
        inference_service(
            spec, endpoint=endpoint, version=1, model_uri="s3://b/m", model_digest="d", variant_digest="e",
            recipe="", answers={}, store_uri="s3://b", run="r", namespace="default",
        )["metadata"]["name"]
        for endpoint in (name, identity.candidate_name(name))
    ]  # fmt: skip
    made = {f"{each}{end}" for each in served for end in ("", "-predictor", "-transformer", "-explainer")}
    jobs = [identity.attempt_name(identity.job_name(name, "r", task), n) for task in TASKS for n in (0, 1, 999)]
    return made | {f"{job}-{replica}" for job in jobs for replica in REPLICAS}


def keys(name: str) -> set[str]:
    """Where its documents lie in the store; also on a file system that knows no capital letters."""
    digest = fingerprint({"of": name})
    made = {
        f"endpoints/{name}.json",
        f"decisions/{name}-{digest}/record.json",
        reading.version_key(name, 1),
        registry._card_key(name, 1, "md"),
        registry._decision_key(name, 1),
        aliases.pointer_key(name, "champion"),
        aliases.pointer_key(name, "candidate"),
        aliases.tombstone_key(name, 1),
    }
    return {key.casefold() for key in made}


def folders(name: str) -> set[str]:
    """What an endpoint keeps on this machine."""
    context = Context.current()
    return {str(endpoint_folder(context, each)).casefold() for each in (name, identity.candidate_name(name))}


@settings(max_examples=200, deadline=None)
@given(st.lists(NAMES, min_size=2, max_size=4, unique=True))
def test_two_allowed_names_share_nothing_that_is_made_from_them(names: list[str]) -> None:
    for derive in (services, keys, folders):
        made = [derive(name) for name in names]
        assert all(len(each) == len(made[0]) for each in made)  # nor do two things of one model meet
        for one, other in combinations(made, 2):
            assert not one & other
    stamped = [identity.stamp({"metadata": {}}, name=name, run="r", task="train") for name in names]
    assert len({each["metadata"]["labels"][labels.NAME] for each in stamped}) == len(names)


@settings(max_examples=200, deadline=None)
@given(NAMES)
def test_what_is_made_from_an_allowed_name_is_one_that_kubernetes_takes_and_no_model_can_have(name: str) -> None:
    for made in services(name):
        assert len(made) <= 63
        assert identity.DNS_1035.fullmatch(made)
        assert made == name or not is_allowed(made)
    assert not is_allowed(identity.CHECK)


def test_long_names_that_begin_alike_stay_apart() -> None:
    one, other = "a" * 39 + "b", "a" * 39 + "c"
    assert not services(one) & services(other)
    with pytest.raises(InvalidSpec, match="up to 40 lower case letters"):
        identity.check_model_name("a" * 41)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("x-candidate", "ends with '-candidate'"), ("x-predictor", "ends with '-predictor'"),
        ("x-explainer", "ends with '-explainer'"), ("shipway-check", "begins with 'shipway-'"),
        ("x-worker-0", "ends like a job's replica"), ("bot-train-0123456789-chief-11", "ends like a job's replica"),
        ("X", "did you mean 'x'"), ("my bot", "did you mean 'my-bot'"), ("bot\n", "did you mean 'bot'"),
        ("X-Candidate", r"a letter or digit, got 'X-Candidate'$"),
    ],
)  # fmt: skip
def test_a_name_that_would_meet_another_models_is_refused_in_one_line(name: str, told: str) -> None:
    with pytest.raises(InvalidSpec, match=told) as refused:
        identity.check_model_name(name)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["candidate", "champion", "predictor", "x-candidates", "x-worker", "versions", "shipway"]
)
def test_a_name_that_only_looks_alike_is_allowed(name: str) -> None:
    assert identity.check_model_name(name) == name


def test_an_endpoints_spec_and_the_registry_refuse_it_too() -> None:
    with pytest.raises(ValueError, match="'x-candidate' ends with '-candidate'"):
        EndpointSpec(name="x-candidate")
    with pytest.raises(InvalidSpec, match="ends with '-candidate'"):
        registry._check_name("x-candidate")
