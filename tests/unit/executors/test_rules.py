"""The operator's rules as pure functions."""

from __future__ import annotations

import pytest

from shipway.executors.process.rules import (
    Status,
    after_exit,
    exceeds_backoff,
    exit_code_of,
    judge,
    reason_of,
    restart_delay,
)


def status(name: str, phase: str = "Running", policy: str = "Never", restarts: int = 0, failures: int = 0) -> Status:
    role, index = name.rsplit("-", 1)
    return Status(name, role, int(index), policy, phase, restarts=restarts, failures=failures)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("policy", "code", "fate"),
    [
        ("Never", 0, "done"), ("Never", 1, "failed"), ("Never", 137, "failed"),
        ("OnFailure", 0, "done"), ("OnFailure", 1, "restart"), ("OnFailure", 137, "restart"),
        ("Always", 0, "restart"), ("Always", 1, "restart"),
        ("ExitCode", 0, "done"), ("ExitCode", 1, "failed"), ("ExitCode", 127, "failed"),
        ("ExitCode", 128, "restart"), ("ExitCode", 137, "restart"), ("ExitCode", 255, "restart"),
    ],
)  # fmt: skip
def test_a_restart_policy_decides_by_exit_code(policy: str, code: int, fate: str) -> None:
    assert after_exit(policy, code) == fate


def test_a_chief_that_ends_in_the_moment_a_worker_fails_makes_the_job_succeeded() -> None:
    both = [status("chief-0", "Succeeded"), status("worker-0", "Failed")]
    assert judge("chief", both).state == "Succeeded"
    assert judge("worker-0", [status("worker-0", "Succeeded"), status("worker-1", "Failed")]).state == "Succeeded"
    assert judge("all-workers", [status("worker-0", "Succeeded"), status("worker-1", "Failed")]).state == "Failed"


def test_the_verdict_counts_failed_replicas_by_role_as_the_operator_says_it() -> None:
    failed = [status("worker-0", "Failed"), status("worker-1", "Failed"), status("chief-0")]
    assert judge("chief", failed).message == "2 Worker replica(s) failed"


def test_a_restarting_replica_neither_fails_nor_ends_the_job() -> None:
    assert judge("worker-0", [status("worker-0", "Restarting")]).state == "Running"
    assert judge("chief", [status("chief-0"), status("worker-0", "Restarting")]).state == "Running"


@pytest.mark.parametrize(("limit", "restarts", "over"), [(None, 99, False), (0, 1, True), (1, 1, True), (2, 1, False),
                                                         (2, 2, True)])  # fmt: skip
def test_restarts_in_place_are_summed_and_fail_the_job_when_they_reach_the_limit(
    limit: int | None, restarts: int, over: bool
) -> None:
    assert exceeds_backoff(limit, [status("worker-0", policy="OnFailure", restarts=restarts)]) is over
    spread = [status(f"worker-{i}", policy="Always", restarts=1) for i in range(restarts)]
    assert exceeds_backoff(limit, spread) is over


def test_under_exit_code_the_limit_holds_for_each_replica_so_that_a_lost_peer_counts_once() -> None:
    once_each = [status(f"worker-{i}", policy="ExitCode", restarts=1) for i in range(8)]
    assert not exceeds_backoff(1, once_each)
    assert exceeds_backoff(1, [*once_each, status("chief-0", policy="ExitCode", restarts=2)])
    assert exceeds_backoff(0, once_each)


def test_exit_codes_and_reasons_are_a_containers() -> None:
    assert (exit_code_of(-9), exit_code_of(3), exit_code_of(0)) == (137, 3, 0)
    assert (reason_of(-9), reason_of(-64), reason_of(3)) == ("Signal 9 (SIGKILL)", "Signal 64 (SIGRTMAX)", "Error")


def test_the_delay_between_restarts_grows_and_has_an_end() -> None:
    delays = [restart_delay(deaths) for deaths in range(12)]
    assert delays[:3] == [0.0, 0.0, 0.1]
    assert delays == sorted(delays)
    assert delays[-1] == 5.0
