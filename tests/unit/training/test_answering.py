"""Whether a replica answers, is silent or gone, as sockets show it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from shipway.errors import RetryableError
from shipway.training.answering import GONE_AFTER, Answer, Verdict, Watch, ask, named, wait_for


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def address_of(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


def test_an_open_port_behind_which_nobody_speaks_is_silent(listener: socket.socket) -> None:
    """As a frozen process leaves it: the kernel still takes the connection."""
    assert ask(address_of(listener), timeout_s=0.2) == "silent"


def test_a_server_that_speaks_is_here_and_one_that_hangs_up_or_is_none_refuses(listener: socket.socket) -> None:
    def answer() -> None:
        for said in (b"\0" * 9, b""):
            connection, _ = listener.accept()
            with connection:
                connection.recv(100)
                connection.sendall(said)

    thread = threading.Thread(target=answer)
    thread.start()
    assert ask(address_of(listener)) == "here"
    assert ask(address_of(listener)) == "refused"
    thread.join()
    address = address_of(listener)
    listener.close()
    assert ask(address) == "refused"


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        (["refused"] * 10, "stay"),  # it has not come yet
        (["refused"] * 11, "stalled"),
        (["silent"] * 11, "stalled"),
        (["here"] + ["refused"] * (GONE_AFTER - 1) + ["here"] + ["refused"] * (GONE_AFTER - 1), "stay"),
        (["here"] + ["refused"] * GONE_AFTER, "gone"),
        (["here"] + ["silent", "refused"] * 4, "stay"),
        (["here"] + ["silent"] * 11, "stalled"),
    ],
)
def test_a_replica_is_gone_when_it_was_there_and_stalled_when_it_says_nothing(
    answers: list[Answer], verdict: Verdict
) -> None:
    """An answer a second, with a limit of ten."""
    watch = Watch(limit_s=10, now=0)
    assert [watch.judge(answer, now) for now, answer in enumerate(answers, 1)][-1] == verdict


def test_who_does_not_come_is_named() -> None:
    wanted = named({"chief": ["a:1"], "worker": ["b:2"], "ps": ["c:3", "d:4"]}, ("worker", "ps"))
    assert wanted == {"worker-0": "b:2", "ps-0": "c:3", "ps-1": "d:4"}
    with pytest.raises(RetryableError, match=r"^ps-1 \(d:4\) did not answer within 0 s"):
        wait_for(wanted, 0, lambda address: "refused" if address == "d:4" else "here")
