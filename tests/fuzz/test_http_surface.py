"""Whatever bytes and bodies a client sends, an endpoint answers with a status and one line, and goes on serving."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.fuzzing import fuzzed
from tests.local.serving import Server, served
from tests.local.test_predictor_hostile import error_of, exchange, request, status_of

pytestmark = pytest.mark.heavy

ANSWERS = {200, 400, 404, 405, 408, 411, 413, 414, 415, 431, 501, 503, 505}
LEAVES: Any = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["w0_1", 1e308])
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
)
FIELDS = st.sampled_from(
    ["instances", "inputs", "parameters", "outputs", "id", "name", "shape", "datatype", "data", "top_k", "text",
     "binary_data", "binary_data_size", "binary_data_output", "classification", "signature_name"]
)  # fmt: skip
BODIES = st.dictionaries(FIELDS, VALUES | st.lists(st.dictionaries(FIELDS, VALUES, max_size=5), max_size=3), max_size=5)
PATHS = st.sampled_from(
    ["/v1/models/toy:predict", "/v2/models/toy/infer", "/v2/models/toy/versions/3/infer", "/v1/models/x:predict"]
)
PIECES = st.sampled_from(
    [b"POST ", b"GET ", b"HEAD ", b"/v1/models/toy:predict", b"/v2/health/ready", b"/", b" HTTP/1.1\r\n",
     b" HTTP/1.0\r\n", b" HTTP/9.9\r\n", b"Host: x\r\n", b"Content-Length: 5\r\n", b"Content-Length: -1\r\n",
     b"Content-Length: 99999999999\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: \x0bchunked\r\n",
     b"Content-Type: application/json\r\n", b"Content-Encoding: gzip\r\n", b"Expect: 100-continue\r\n",
     b"Upgrade: h2c\r\n", b"Connection: upgrade\r\n", b"Inference-Header-Content-Length: 7\r\n", b"\r\n", b"\n",
     b"\r", b"\x00", b"\xff", b"5\r\nabcde\r\n", b"0\r\n\r\n", b"fffffffffffffffff\r\n", b'{"instances": ["a"]}',
     b"{", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ends with an error where its log holds a traceback."""
    with served(tmp_path_factory.mktemp("predictor")) as found:
        yield found


def is_well(server: Server, answer: bytes) -> None:
    """A status that is meant, an error in one line, and the next client is served."""
    if answer:
        assert status_of(answer) in ANSWERS, answer[:300]
        if status_of(answer) >= 400 and b"application/json" in answer:
            assert error_of(answer)
    assert server.process.poll() is None


@fuzzed
@given(st.lists(PIECES | st.binary(max_size=6), max_size=14).map(b"".join))
def test_any_bytes_are_answered_or_hung_up_on(server: Server, data: bytes) -> None:
    is_well(server, exchange(server, data))
    assert server.predict({"instances": ["w0_1"]})[0] == 200


@fuzzed
@given(PATHS, BODIES | VALUES)
def test_any_body_is_answered_or_refused_in_one_line(server: Server, path: str, body: Any) -> None:
    answer = exchange(server, request(json.dumps(body).encode(), path, connection="close"))
    assert answer
    is_well(server, answer)


@fuzzed
@given(PATHS, st.binary(max_size=60), st.integers(-1, 80))
def test_any_binary_tensor_is_answered_or_refused_in_one_line(
    server: Server, path: str, data: bytes, length: int
) -> None:
    sent = request(data, path, connection="close", inference_header_content_length=str(length))
    answer = exchange(server, sent)
    assert answer
    is_well(server, answer)
