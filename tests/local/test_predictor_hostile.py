"""One client must not take the predictor from the others: floods, slow clients, malformed requests, greedy bodies."""

from __future__ import annotations

import http.client
import json
import random
import select
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.local.serving import Server, served
from tests.local.test_endpoints import until

pytestmark = pytest.mark.heavy

PATH = "/v1/models/toy:predict"
BODY = json.dumps({"instances": ["w0_1 w0_4"]}).encode()
SHORT = (
    "import shipway.components.predict.connection as c; "
    "c.HEAD_S, c.BODY_S, c.STALL_S, c.MAX_CONNECTIONS, c.RESERVE, c.TELL_S = 1, 2, 2, 40, 8, 0"
)
MALFORMED = 3000
LOG_BYTES = 20_000  # for all of them


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("predictor")) as found:
        yield found


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A predictor with short deadlines and few connections."""
    with served(tmp_path_factory.mktemp("impatient"), SHORT) as found:
        yield found


def request(body: bytes = BODY, path: str = PATH, **headers: str) -> bytes:
    """A POST as bytes; a header's name is written with `_` for `-`."""
    given = {"host": "x", "content-type": "application/json", "content-length": str(len(body))}
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


def connect(server: Server, timeout_s: float = 20) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=timeout_s)


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    data = b""
    with suppress(ConnectionError):
        while block := connection.recv(1 << 16):
            data += block
    return data


def exchange(server: Server, data: bytes) -> bytes:
    """Sends bytes, ends the sending side, and gives all that comes back."""
    with connect(server) as connection, suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return everything(connection)
    return b""


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def error_of(answer: bytes) -> str:
    error = json.loads(answer.split(b"\r\n\r\n", 1)[1])["error"]
    assert "\n" not in error
    return str(error)


def answers_others(server: Server) -> None:
    assert server.predict({"instances": ["w0_1 w0_4"]})[0] == 200


def test_requests_sent_ahead_of_their_answers_are_bounded(server: Server) -> None:
    before = server.memory_mb()
    one = request()
    with connect(server, 2) as connection:
        with suppress(OSError):  # the server stops reading, or hangs up
            for _ in range((40 << 20) // (len(one) * 500)):
                connection.sendall(one * 500)
        answers_others(server)
        assert server.memory_mb() < before + 60
        answers = everything(connection)
    assert answers.count(b"HTTP/1.1 200") >= 1
    assert answers.count(b"HTTP/1.1") <= 20


def test_a_few_requests_sent_ahead_are_answered_in_their_order(server: Server) -> None:
    bodies = [json.dumps({"instances": ["w0_1"], "parameters": {"top_k": k}}).encode() for k in (1, 2, 3, 4)]
    answers = exchange(server, b"".join(request(body) for body in bodies) + request(connection="close"))
    found = [json.loads(part.split(b"\r\n\r\n", 1)[1]) for part in answers.split(b"HTTP/1.1 200")[1:]]
    assert [len(answer["predictions"][0]["probabilities"]) for answer in found] == [1, 2, 3, 4, 4]


def test_nonsense_after_a_request_does_not_take_its_answer(server: Server) -> None:
    answers = exchange(server, request() + b"\x00\x01nonsense\r\n\r\n")
    assert answers.startswith(b"HTTP/1.1 200")
    assert answers.count(b"HTTP/1.1 400") == 1


@pytest.mark.parametrize("element", [b"{}", b'""', b"[]", b"[[]]", b'{"text":""}'], ids=repr)
def test_millions_of_tiny_values_are_refused_without_being_built(server: Server, element: bytes) -> None:
    before = server.memory_mb()
    many = b",".join([element] * (15_000_000 // (len(element) + 1)))
    for path, body in (
        (PATH, b'{"instances":[%s]}' % many),
        ("/v2/models/toy/infer", b'{"inputs":[{"name":"t","datatype":"BYTES","shape":[9],"data":[%s]}]}' % many),
    ):
        answer = exchange(server, request(body, path))
        assert status_of(answer) == 413
        assert "send fewer" in error_of(answer)
    answers_others(server)
    assert server.memory_mb() < before + 120  # a body or two, and none of what it describes


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b'{"instances":' + b"[" * 900 + b"]" * 900 + b"}", b'{"a":' * 20_000],
    ids=["open", "closed", "objects"],
)
def test_a_deep_body_is_refused(server: Server, body: bytes) -> None:
    for path in (PATH, "/v2/models/toy/infer"):
        answer = exchange(server, request(body, path))
        assert status_of(answer) in (400, 413)
        assert error_of(answer)


NESTED = b"[" * 1015 + b"]" * 1015  # within what the parser reads
LONG = b'"' + "\N{GRINNING FACE}".encode() + b"\x7f" * 15_000_000 + b'"'  # quoted whole, it would be ten times as long


@pytest.mark.parametrize("value", [NESTED, LONG], ids=["deep", "long"])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        (PATH, b'{"instances":["a"],"parameters":{"top_k":%s}}'),
        (PATH, b'{"instances":[%s, 1]}'),
        ("/v2/models/toy/infer", b'{"inputs":[{"name":"t","datatype":%s,"shape":[1],"data":["a"]}]}'),
        ("/v2/models/toy/infer", b'{"inputs":[{"name":"t","datatype":"BYTES","shape":%s,"data":["a"]}]}'),
        (
            "/v2/models/toy/infer",
            b'{"inputs":[{"name":"t","datatype":"BYTES","shape":[1],"parameters":{"binary_data_size":%s}}]}',
        ),
        (
            "/v2/models/toy/infer",
            b'{"inputs":[{"name":"t","datatype":"BYTES","shape":[1],"data":["a"]}],"outputs":[{"name":%s}]}',
        ),
    ],
    ids=["top_k", "instance", "datatype", "shape", "size", "output"],
)
def test_what_a_client_sent_is_quoted_in_a_few_words(server: Server, path: str, body: bytes, value: bytes) -> None:
    before = server.memory_mb()
    answer = exchange(server, request(body % value, path))
    assert status_of(answer) == 400
    assert len(error_of(answer)) < 300
    assert server.memory_mb() < before + 120


@pytest.mark.parametrize("path", ["/a%1b%5b31m%0d%0aX", "/v1/models/a%1b%5b31m%00", f"/v1/models/{'a' * 8000}"])
def test_an_error_about_a_path_is_short_and_no_terminal_obeys_it(server: Server, path: str) -> None:
    answer = exchange(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert status_of(answer) == 404
    assert error_of(answer).isprintable()
    assert len(error_of(answer)) < 500


@pytest.mark.parametrize("line", ["GET /v2/health/live/", "GET /v1/models/", "POST /v1/models/toy:predict/"])
def test_no_answer_sends_a_client_to_a_host_that_it_made_up(server: Server, line: str) -> None:
    answer = exchange(server, f"{line} HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n".encode())
    assert status_of(answer) == 404
    assert b"evil.example" not in answer


def test_a_method_that_is_not_allowed_names_those_that_are(server: Server) -> None:
    for path, allowed in (("/metrics", b"GET, HEAD"), ("/v2/health/live", b"GET, HEAD"), (PATH, b"POST")):
        answer = exchange(server, f"DELETE {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert status_of(answer) == 405
        assert b"allow: " + allowed + b"\r\n" in answer
        assert error_of(answer) == f"DELETE is not allowed here; {allowed.decode()} is"


def test_large_bodies_that_never_end_keep_no_others_out(server: Server) -> None:
    large = request(json.dumps({"instances": ["w0_1"], "parameters": {"top_k": "x" * 100_000}}).encode())
    held = [connect(server) for _ in range(3)]
    for connection in held:
        connection.sendall(request(b" " * (16 << 20))[:-1])
    given_up: list[socket.socket] = []

    def has_made_room() -> bool:
        is_read = status_of(exchange(server, large)) == 400  # what is wrong with it is told: it was read
        given_up[:] = select.select(held, [], [], 0)[0]
        return is_read and bool(given_up)

    until(has_made_room, 25)
    answer = given_up[0].recv(1 << 16)
    assert status_of(answer) == 503
    assert "too many large requests" in error_of(answer)
    for connection in held:
        connection.close()


LENGTHS = ["-1", "+5", "5, 5", "0x10", "5 5", "", "9" * 40, "1e2", "５"]


@pytest.mark.parametrize(
    "data",
    [
        *[request(b"12345", content_length=length) for length in LENGTHS],
        request(content_length="5\r\ncontent-length: 6"),
        request(b"0\r\n\r\n", transfer_encoding="chunked"),  # beside a length
        request(b"0\r\n\r\n", transfer_encoding="chunked, identity"),
        request(b"0\r\n\r\n", transfer_encoding="xchunked"),
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length : 3\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\n folded: 3\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # a TLS client
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=lambda data: ascii(data)[-40:],
)  # fmt: skip
def test_a_request_that_two_servers_could_read_differently_is_refused_and_closed(server: Server, data: bytes) -> None:
    answer = exchange(server, data + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) == 400
    assert answer.count(b"\r\n\r\n") == 1  # what followed is not taken for a request
    assert b"connection: close" in answer.lower()
    assert error_of(answer)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 100_000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: a\r\n" * 20_000 + b"\r\n", 431),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ],
    ids=["one", "many", "target"],
)
def test_a_huge_head_is_refused(server: Server, data: bytes, status: int) -> None:
    answer = exchange(server, data)
    assert status_of(answer) == status
    assert error_of(answer)


def test_a_head_that_never_ends_is_refused(server: Server) -> None:
    with connect(server) as connection:
        with suppress(OSError):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
            for _ in range(4000):
                connection.sendall(b"a" * 1000)
        assert status_of(everything(connection)) == 431


def test_encodings_types_and_bytes_that_are_not_understood_are_named(server: Server) -> None:
    gzipped = exchange(server, request(b"\x1f\x8b\x08", content_encoding="gzip"))
    assert status_of(gzipped) == 415
    assert "gzip" in error_of(gzipped)
    for given in ("text/xml", "multipart/form-data; boundary=x", "application/json; charset=latin-1"):
        assert status_of(exchange(server, request(content_type=given))) == 415
    for given in ("application/json; charset=UTF-8", "application/vnd.x+json", "APPLICATION/JSON"):
        assert status_of(exchange(server, request(content_type=given))) == 200
    answer = exchange(server, request(b'{"instances": ["secret \xff\xfe"]}'))
    assert status_of(answer) == 400
    assert "UTF-8" in error_of(answer)


def test_chunks_and_expect_100_continue_are_understood(server: Server) -> None:
    chunks = b"".join(b"1;x=y\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n".encode()
    assert status_of(exchange(server, head + chunks)) == 200
    with connect(server) as connection:
        data = request(expect="100-continue", connection="close")
        connection.sendall(data[: -len(BODY)])
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(BODY)
        assert status_of(everything(connection)) == 200
    with connect(server) as connection:  # refused before the body is asked for
        connection.sendall(request(b"", expect="100-continue", content_length=str(1 << 30)))
        assert status_of(connection.recv(1 << 16)) == 413


def test_an_offer_of_another_protocol_is_answered_in_this_one(server: Server) -> None:
    offer = b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    answer = exchange(server, offer + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) == 200
    assert answer.count(b"\r\n\r\n") == 1
    assert b"connection: close" in answer.lower()
    answer = exchange(server, request(connection="Upgrade, HTTP2-Settings", upgrade="h2c"))
    assert status_of(answer) == 400
    assert "leave the Upgrade header out" in error_of(answer)


def malformed(chooser: random.Random) -> bytes:
    """A request with some of its bytes changed, cut, doubled or put elsewhere."""
    data = bytearray(request(path=chooser.choice([PATH, "/v2/models/toy/infer", "/v2/health/ready", "/metrics"])))
    for _ in range(chooser.randint(1, 6)):
        at, to = sorted(chooser.choices(range(len(data) + 1), k=2))
        match chooser.randrange(5):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = chooser.randbytes(chooser.randint(1, 8))
            case 2:
                data[at:at] = data[at:to]
            case 3:
                data[at:at] = chooser.choice([b"\r\n", b"\x00", b"\xff", b": ", b"chunked", b"Content-Length: 3\r\n"])
            case 4:
                del data[at:]
    return bytes(data)


def test_thousands_of_malformed_requests_leave_a_short_log_and_the_others_served(server: Server) -> None:
    log, before = server.log.stat().st_size, server.memory_mb()
    chooser = random.Random(11)
    codes: Counter[int] = Counter()
    for i in range(MALFORMED):
        answer = exchange(server, malformed(chooser))
        if answer:
            codes[status_of(answer)] += 1
        if i % 300 == 0:
            answers_others(server)
    assert set(codes) <= {200, 400, 404, 405, 413, 414, 415, 431}, codes
    assert codes[400] > MALFORMED / 10
    written = server.log.read_text()[log:]
    assert len(written) < LOG_BYTES
    assert "Traceback" not in written
    assert "w0_1" not in written  # of what clients sent, nothing
    assert server.memory_mb() < before + 60


def test_a_client_that_is_too_slow_is_cut_off_and_told_where_it_can_be(impatient: Server) -> None:
    with connect(impatient) as silent, connect(impatient) as head, connect(impatient) as body:
        head.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        body.sendall(request()[:-3])
        assert everything(silent) == b""
        assert status_of(everything(head)) == 408
        assert status_of(everything(body)) == 408
    answers_others(impatient)


def test_dripping_bytes_keep_no_connection_open(impatient: Server) -> None:
    with connect(impatient) as connection:
        sent = 0
        with suppress(OSError):
            for byte in b"\r\n" * 5 + b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200:
                connection.sendall(bytes([byte]))
                sent += 1
                threading.Event().wait(0.1)
        assert sent < 150  # of 245, a tenth of a second each
    answers_others(impatient)


def test_a_client_that_does_not_read_is_hung_up_on(impatient: Server) -> None:
    body = json.dumps({"instances": ["w0_1"] * 50, "parameters": {"top_k": "all"}}).encode()
    before = impatient.memory_mb()
    clients: list[socket.socket] = []

    def connected() -> socket.socket:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.settimeout(0.05)
        connection.connect(("127.0.0.1", impatient.port))
        clients.append(connection)
        return connection

    unsent = b""

    def is_cut_off() -> bool:
        nonlocal unsent
        try:
            unsent = unsent or request(body)
            unsent = unsent[(clients or [connected()])[-1].send(unsent) :]
        except TimeoutError:  # full
            pass
        except ConnectionError:  # or it was refused for what it had sent ahead: on a slow machine that may be too much
            unsent = b""
            connected()
        return "did not read their answer" in impatient.log.read_text()

    until(is_cut_off, 60)
    for connection in clients:
        connection.close()
    assert impatient.memory_mb() < before + 60
    answers_others(impatient)


def test_newcomers_and_probes_get_in_while_others_hold_all_connections(impatient: Server) -> None:
    idle = [connect(impatient) for _ in range(120)]
    try:
        for path in ("/v2/health/ready", "/v1/models/toy", "/metrics"):
            assert impatient.send("GET", path)[0] == 200
        answers_others(impatient)
        until(lambda: "connections closed for newer ones" in impatient.log.read_text())
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.timeout(180)
def test_more_than_can_be_answered_is_refused_at_once_while_probes_are_answered(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with served(tmp_path_factory.mktemp("small"), "pass", "--max_waiting", "4") as server:
        before = server.memory_mb()
        codes: Counter[int] = Counter()
        probes: Counter[int] = Counter()
        lock, stop = threading.Lock(), threading.Event()

        def ask() -> None:
            body = json.dumps({"instances": ["w0_1 w0_4"] * 40}).encode()
            while not stop.is_set():
                connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
                connection.request("POST", PATH, body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                answer = json.loads(response.read())
                if response.status == 503:
                    assert int(response.headers["Retry-After"]) >= 1
                    assert "waiting already" in answer["error"]
                else:
                    assert len(answer["predictions"]) == 40
                with lock:
                    codes[response.status] += 1
                connection.close()

        threads = [threading.Thread(target=ask, daemon=True) for _ in range(24)]
        for thread in threads:
            thread.start()
        while sum(codes.values()) < 600:
            probes[server.send("GET", "/v2/health/ready")[0]] += 1
        stop.set()
        for thread in threads:
            thread.join(30)
        assert set(codes) == {200, 503}
        assert codes[200] > 20
        assert set(probes) == {200}
        assert server.memory_mb() < before * 1.5 + 20
        answers_others(server)


def test_a_refusal_comes_without_the_body_and_while_the_model_is_at_work(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    slow = "import shipway.scoring as s, time; p = s.ModelSession.predict; " \
        "s.ModelSession.predict = lambda *a: time.sleep(4 * (len(a[1]) == 50)) or p(*a)"  # fmt: skip
    with served(tmp_path_factory.mktemp("slow"), slow, "--max_waiting", "1") as server, connect(server) as busy:
        busy.sendall(request(json.dumps({"instances": ["w0_1"] * 50}).encode(), connection="close"))
        until(lambda: server.predict({"instances": ["w0_1"]})[0] == 503)
        with connect(server) as kept:
            for path in (PATH, "/v2/models/toy/infer"):
                kept.sendall(request(b"", path, content_length="5000"))  # its head
                answer = kept.recv(1 << 16)
                assert status_of(answer) == 503
                assert b"retry-after: 1" in answer.lower()
                assert "waiting already" in error_of(answer)
                kept.sendall(b"x" * 5000)  # thrown away: no request
        for headers in ({"content_length": str(1 << 20)}, {"connection": "close"}, {"expect": "100-continue"}):
            with connect(server) as closed:
                closed.sendall(request(b"", **headers))
                answer = everything(closed)
                assert status_of(answer) == 503
                assert answer.count(b"HTTP/1.1") == 1
                assert b"connection: close" in answer.lower()
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/toy/ready", "/metrics"):
            assert server.send("GET", path)[0] == 200
        busy.setblocking(False)
        with pytest.raises(BlockingIOError):  # all of that while the model was at work
            busy.recv(1)
        busy.settimeout(20)
        assert status_of(everything(busy)) == 200
