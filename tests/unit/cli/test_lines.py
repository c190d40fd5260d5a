from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.error import HTTPError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipway.cli import lines
from shipway.cli.lines import answer_lines, read_lines
from shipway.client import Client
from shipway.errors import ShipwayError, UserError
from shipway.runs.endpoint import Endpoint as Served


class Endpoint:
    """Answers with the text's length; takes `most` texts of `longest` characters, as a predictor does."""

    def __init__(self, most: int = 1024, longest: int = 10_000) -> None:
        self.most, self.longest = most, longest
        self.sizes: list[int] = []

    def __call__(self, texts: list[str]) -> list[dict[str, Any]]:
        self.sizes.append(len(texts))
        if len(texts) > self.most or any(len(text) > self.longest for text in texts):
            refused = HTTPError("http://h", 400, "Bad Request", None, None)  # type: ignore[arg-type]
            raise UserError("predict: answered 400: too much") from refused
        return [{"label": str(len(text))} for text in texts]


def answered(data: bytes, endpoint: Endpoint, batch: int = 4) -> list[tuple[str, str]]:
    return [(text, answer["label"]) for text, answer in answer_lines(io.BytesIO(data), endpoint, batch)]


def test_every_line_has_its_answer_blank_ones_too() -> None:
    found = answered(b"one\n\n  \nfour\r\n\r\nsix", Endpoint())
    assert found == [("one", "3"), ("", "0"), ("  ", "2"), ("four", "4"), ("", "0"), ("six", "3")]


@pytest.mark.parametrize(
    ("data", "texts"), [(b"", []), (b"\n", [""]), (b"a", ["a"]), (b"\xef\xbb\xbfa\n\n", ["a", ""])]
)
def test_the_end_and_the_beginning_of_a_file_make_no_line_of_their_own(data: bytes, texts: list[str]) -> None:
    assert list(read_lines(io.BytesIO(data))) == texts


@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=8), max_size=20),
       st.integers(1, 7), st.integers(1, 5), st.sampled_from(["\n", "\r\n"]))  # fmt: skip
def test_as_many_answers_as_lines_whatever_a_request_may_hold(
    texts: list[str], most: int, batch: int, end: str
) -> None:
    texts = [text.removeprefix("\ufeff") for text in texts]
    endpoint = Endpoint(most)
    found = answered("".join(text + end for text in texts).encode(), endpoint, batch)
    assert found == [(text, str(len(text))) for text in texts]


def test_a_line_that_is_no_utf8_is_named_after_the_ones_before_it_were_answered() -> None:
    answers = answer_lines(io.BytesIO(b"a\n" * 5 + b"bb\xff\nc\n"), Endpoint(), 4)
    assert [next(answers)[0] for _ in range(5)] == ["a"] * 5
    with pytest.raises(UserError, match=r"line 6: byte 3 \(0xff\) is not UTF-8; convert it"):
        next(answers)


def test_a_line_that_the_endpoint_refuses_is_named() -> None:
    with pytest.raises(UserError, match=r"standard input, line 11: predict: answered 400"):
        answered(b"a\n" * 10 + b"a" * 101 + b"\n" + b"a\n" * 10, Endpoint(longest=100), 8)


def test_a_line_without_an_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "LINE_BYTES", 100)
    with pytest.raises(UserError, match="line 2: longer than 100 bytes"):
        answered(b"a\n" + b"b" * 1000, Endpoint())


def test_an_endpoint_that_fails_is_not_asked_in_halves() -> None:
    def fails(_texts: list[str]) -> list[dict[str, Any]]:
        raise ShipwayError("predict: answered 500")

    with pytest.raises(ShipwayError, match="answered 500"):
        list(answer_lines(io.BytesIO(b"a\nb\n"), fails))


def test_input_is_read_only_as_far_as_it_is_answered() -> None:
    source = io.BytesIO(b"a\n" * 100_000)
    answers = answer_lines(source, Endpoint(), 4)
    next(answers)
    assert source.tell() <= 16


def answer_to(text: str) -> dict[str, Any]:
    return {"label": text, "out_of_scope": False, "probability": 1.0, "probabilities": {text: 1.0}}


def by_client(url: str) -> str | None:
    with Client(url) as client:
        return client.predict(["a"])[0]["label"]


def by_command(url: str) -> str | None:
    return Served("bot", url).predict(["a"])[0]["label"]


class Busy(BaseHTTPRequestHandler):
    """Says 503 as often as the server's `busy`, then answers each text."""

    def do_POST(self) -> None:
        texts = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["instances"]
        self.server.asked += 1  # type: ignore[attr-defined]
        is_busy = self.server.asked <= self.server.busy  # type: ignore[attr-defined]
        body = {"error": "busy"} if is_busy else {"predictions": [answer_to(text) for text in texts]}
        self.send_response(503 if is_busy else 200)
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_args: object) -> None:
        pass


@pytest.mark.parametrize("put", [by_command, by_client], ids=["command", "client"])
@pytest.mark.parametrize(("busy", "asked"), [(0, 1), (3, 4), (99, 5)])
def test_an_endpoint_that_is_busy_is_asked_again_but_not_for_ever(
    busy: int, asked: int, put: Callable[[str], str]
) -> None:
    with HTTPServer(("127.0.0.1", 0), Busy) as server:
        server.busy, server.asked = busy, 0  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/v1/models/m:predict"
        if busy < asked:
            assert put(url) == "a"
        else:
            with pytest.raises(ShipwayError, match="503: busy"):
                put(url)
        assert server.asked == asked  # type: ignore[attr-defined]
        server.shutdown()
