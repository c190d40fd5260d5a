"""The predictor's protocols, asked over real HTTP."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shipway.client import Client
from shipway.errors import NotFound, UserError
from shipway.scoring import ModelSession
from tests.fixtures import toy
from tests.local.serving import Server, served, serving

pytestmark = pytest.mark.heavy

TEXTS = ["w2_1 w2_2 w2_3 shared1", "zzz", "w0_1 w0_4"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("predictor")) as found:
        yield found


def kept(server: Server, texts: list[str]) -> Any:
    folder = Path(urllib.parse.urlsplit(server.model.uri).path)
    return ModelSession.open(server.model, folder, threads=1).predict(texts)["probabilities"]


def test_v1_answers_labels_probabilities_and_none_of_these(server: Server) -> None:
    status, answer = server.predict({"instances": TEXTS, "parameters": {"top_k": 2}})
    assert status == 200
    assert (answer["model_name"], answer["model_version"]) == ("toy", "3")
    sure, unknown, _ = answer["predictions"]
    assert (sure["label"], sure["out_of_scope"], len(sure["probabilities"])) == ("intent_2", False, 2)
    assert (unknown["label"], unknown["out_of_scope"], unknown["probability"]) == (None, True, 0.25)
    assert sure["probability"] == pytest.approx(kept(server, TEXTS)[0].max(), abs=1e-6)


def test_many_texts_get_the_answers_of_single_ones(server: Server) -> None:
    texts = [" ".join(TEXTS[: i % 3 + 1]) for i in range(40)]
    _, answer = server.predict({"instances": texts, "parameters": {"top_k": "all"}})
    served = np.array(
        [[p["probabilities"][label] for label in server.model.labels] for p in answer["predictions"]], np.float32
    )
    np.testing.assert_allclose(served, kept(server, texts), atol=1e-6)


def test_v2_takes_a_bytes_tensor_and_answers_tensors(server: Server) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    status, answer = server.infer({"id": "q7", "inputs": [tensor], "parameters": {"top_k": 2}})
    assert status == 200, answer
    assert (answer["id"], answer["model_version"]) == ("q7", "3")
    outputs = {output["name"]: output for output in answer["outputs"]}
    assert outputs["label"]["data"] == ["intent_2", "", "intent_0"]
    assert outputs["out_of_scope"]["data"] == [False, True, False]
    assert outputs["probabilities"]["shape"] == [3, 2]
    np.testing.assert_allclose(outputs["probability"]["data"], kept(server, TEXTS).max(axis=1), atol=1e-6)
    column = {**tensor, "shape": [3, 1], "data": [[text] for text in TEXTS]}
    assert server.infer({"inputs": [column]})[1]["outputs"][0]["data"] == outputs["label"]["data"]


def test_v2_takes_a_binary_tensor(server: Server) -> None:
    raw = b"".join(len(text).to_bytes(4, "little") + text.encode() for text in TEXTS)
    tensor = {"name": "t", "datatype": "BYTES", "shape": [3], "parameters": {"binary_data_size": len(raw)}}
    head = json.dumps({"inputs": [tensor]}).encode()
    binary = {"content_type": "application/octet-stream", "inference_header_content_length": str(len(head))}
    status, answer = server.infer(head + raw, **binary)
    assert status == 200, answer
    assert answer["outputs"][0]["data"] == ["intent_2", "", "intent_0"]
    status, answer = server.infer(head + raw[:-3], **binary)
    assert (status, list(answer)) == (400, ["error"])


def test_the_type_that_curl_sends_by_default_is_understood(server: Server) -> None:
    body = json.dumps({"instances": ["w0_1"]}).encode()
    status, answer = server.predict(body, content_type="application/x-www-form-urlencoded")
    assert (status, answer["predictions"][0]["label"]) == (200, "intent_0")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"instances": ["a"', "the body is not JSON"),
        (b"", "the body is not JSON"),
        (b"\xff\xfe", "the body is not JSON"),
        (["a"], "the body must be a JSON object, got a list"),
        ({"texts": ["a"]}, '"instances" is missing'),
        ({"instances": []}, '"instances" is empty; expected 1 to 50 instances'),
        ({"instances": ["a"] * 51}, '"instances" holds 51 instances, at most 50 are allowed'),
        ({"instances": ["a" * 101]}, "instances[0] has 101 characters, at most 100 are allowed"),
        ({"instances": ["a", 3]}, "instances[1] must be a string, got a number"),
        ({"instances": ["a"], "parameters": {"top_k": "some"}}, "parameters.top_k must be a whole number"),
    ],
)
def test_a_bad_v1_request_gets_400_and_the_reason_in_one_line(server: Server, body: Any, reason: str) -> None:
    status, answer = server.predict(body)
    assert status == 400
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


def v2(**changed: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "text", "datatype": "BYTES", "shape": [1], "data": ["a"], **changed}]}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "JSON"),
        ({}, "inputs"),
        ({"inputs": []}, '"inputs" must hold one tensor, text: BYTES [-1], got 0 tensors'),
        (v2(datatype="FP32", data=[1.0]), "inputs[0].datatype must be BYTES, got 'FP32'"),
        (v2(shape=[2]), "inputs[0].shape must be [1] or [1, 1]"),
        (v2(data=[1]), "inputs[0].data[0] must be a string"),
        (v2(data=[], shape=[0]), '"inputs[0].data" is empty'),
        (v2(shape="x"), "shape"),
    ],
)
def test_a_bad_v2_request_gets_400_and_the_reason_in_one_line(server: Server, body: Any, reason: str) -> None:
    status, answer = server.infer(body)
    assert status == 400, answer
    assert reason in answer["error"]
    assert "\n" not in answer["error"]


def test_an_unknown_model_is_404_on_both_protocols(server: Server) -> None:
    tensor = v2()
    for status, answer in (
        server.send("POST", "/v1/models/other:predict", {"instances": ["a"]}, content_type="application/json"),
        server.send("POST", "/v2/models/other/infer", tensor, content_type="application/json"),
        server.send("GET", "/v1/models/other"),
        server.send("GET", "/v2/models/other/ready"),
    ):
        assert status == 404
        assert "other" in answer["error"]
    with Client(server.url, "other") as client, pytest.raises(NotFound, match="HTTP 404"):
        client.predict(["a"])


def test_a_body_that_is_too_large_is_refused_before_it_is_read(server: Server) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.putrequest("POST", "/v1/models/toy:predict")
    connection.putheader("Content-Length", str(1 << 40))
    connection.endheaders()
    response = connection.getresponse()
    assert response.status == 413
    assert "larger than" in json.loads(response.read())["error"]
    connection.close()


@pytest.mark.parametrize("path", ["/v1/models/toy:predict", "/v2/models/toy/infer"])
def test_a_body_of_unknown_size_is_refused_where_it_exceeds_the_limit(server: Server, path: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = (
            f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        connection.sendall(head.encode())
        part = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        for _ in range((16 << 20) // 0x10000 + 1):
            connection.sendall(part)
        answer = connection.recv(1 << 16)
        while b"}" not in answer:
            answer += connection.recv(1 << 16)
    assert answer.startswith(b"HTTP/1.1 413")
    assert b'{"error":"the body is larger than' in answer


def test_nobody_can_unload_the_model(server: Server) -> None:
    assert server.send("POST", "/v2/repository/models/toy/unload")[0] == 404
    assert server.predict({"instances": ["a"]})[0] == 200


def test_health_metadata_and_metrics_are_kserves(server: Server) -> None:
    assert server.send("GET", "/v2/models/toy/ready") == (200, {"name": "toy", "ready": True})
    assert server.send("GET", "/v2/health/live")[1] == {"live": True}
    assert server.send("GET", "/v1/models")[1] == {"models": ["toy"]}
    assert server.send("GET", "/v2/models/toy")[1]["inputs"] == [{"name": "text", "datatype": "BYTES", "shape": [-1]}]
    assert server.predict({"instances": ["a"]})[0] == 200
    status, text = server.send("GET", "/metrics")
    assert status == 200
    assert 'request_predict_seconds_count{model_name="toy"}' in text


def test_the_client_gives_predictions_and_clear_errors(server: Server) -> None:
    with Client(f"{server.url}/v1/models/toy:predict") as client:
        found = client.predict(TEXTS, top_k=1)
        assert (found[1]["label"], found[1]["out_of_scope"], len(found[1]["probabilities"])) == (None, True, 1)
        assert client.ask(TEXTS) == (client.predict(TEXTS), "3")
        with pytest.raises(UserError, match=r"HTTP 400: instances\[0\] has 101 characters"):
            client.predict(["a" * 101])
        assert client.predict(["w0_1"])[0]["label"] == "intent_0"  # the connection is still good


def test_it_listens_on_the_loopback_unless_told_otherwise() -> None:
    from shipway.components.predict.worker import _listener

    with _listener(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"


def test_a_light_import_leaves_no_placeholder_behind() -> None:
    code = (
        "import sys; import shipway.components.predict.server as s; "
        "assert 'pandas' not in sys.modules and 'kubernetes' not in sys.modules; "
        "import pandas; assert pandas.DataFrame({'a': [1]}).a.sum() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize(
    "path", ["/", "/v2/health/live", "/v2/health/ready", "/v1/models/toy", "/v2/models/toy/ready", "/metrics"]
)
def test_head_is_answered_as_get_without_a_body(server: Server, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("HEAD", path)
    response = connection.getresponse()
    assert (response.status, response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0
    connection.request("GET", path)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/v3/models", 404, None),
        ("POST", "/v1/models/toy:explain", 404, None),
        ("GET", "/v2/models/toy/versions/9/infer", 405, "POST"),
        ("GET", "/v1/models/toy:predict", 405, "POST"),
        ("HEAD", "/v2/models/toy/infer", 405, "POST"),
        ("PUT", "/v1/models", 405, "GET, HEAD"),
        ("DELETE", "/metrics", 405, "GET, HEAD"),
        ("POST", "/v2/health/ready", 405, "GET, HEAD"),
    ],
)
def test_a_wrong_path_or_method_gets_an_error_and_what_is_allowed(
    server: Server, method: str, path: str, status: int, allow: str | None
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request(method, path)
    response = connection.getresponse()
    assert (response.status, response.headers["Allow"]) == (status, allow)
    assert response.headers["Content-Type"] == "application/json"
    text = response.read()
    connection.close()
    assert method == "HEAD" or list(json.loads(text)) == ["error"]


def test_a_version_in_the_path_is_the_one_that_is_served(server: Server) -> None:
    assert server.send("POST", "/v2/models/toy/versions/3/infer", v2())[0] == 200
    status, answer = server.send("POST", "/v2/models/toy/versions/4/infer", v2())
    assert status == 404
    assert "version '4' is not served here; 3 is" in answer["error"]


def test_unknown_parameters_and_fields_are_refused_by_name(server: Server) -> None:
    for body, name in (
        ({"instances": ["a"], "parameters": {"topk": 2}}, "topk"),
        ({"instances": ["a"], "top_k": 2}, "top_k"),
    ):
        status, answer = server.predict(body)
        assert (status, f"unknown name '{name}'; allowed are" in answer["error"]) == (400, True)
    for body in ({**v2(), "parameters": {"topk": 2}}, {**v2(), "topk": 2}, v2(topk=2)):
        status, answer = server.infer(body)
        assert (status, "unknown name 'topk'; allowed are" in answer["error"]) == (400, True)


def test_v2_answers_the_outputs_that_were_asked_for_and_no_other(server: Server) -> None:
    asked = {**v2(), "outputs": [{"name": "probability"}, {"name": "label"}]}
    status, answer = server.infer(asked)
    assert (status, [output["name"] for output in answer["outputs"]]) == (200, ["probability", "label"])
    status, answer = server.infer({**v2(), "outputs": [{"name": "logits"}]})
    assert status == 400
    assert "outputs[0].name: 'logits' is no output; there are label" in answer["error"]


def test_what_the_probability_alone_would_answer_is_none_of_these_by_sureness(tmp_path: Path) -> None:
    train = toy.rows(300)
    dataset = toy.write_dataset(tmp_path / "dataset", {"train": train, "eval": toy.rows(60, 1)})
    model = toy.write_model(tmp_path / "model", dataset, train, tells_sureness=True)
    texts = ["w2_1 w2_2 w2_3", "w2_1 and nothing else that it knows"]
    with serving(tmp_path, model, "pass", "--answers", '{"threshold": {"sureness": 0.5}}') as server:
        near, far = server.predict({"instances": texts})[1]["predictions"]
        assert (near["label"], near["sureness"]) == ("intent_2", near["probability"])
        assert (far["label"], far["out_of_scope"]) == (None, True)
        assert far["probability"] > 0.5 > far["sureness"]
        tensor = {"name": "text", "datatype": "BYTES", "shape": [2], "data": texts}
        outputs = {output["name"]: output["data"] for output in server.infer({"inputs": [tensor]})[1]["outputs"]}
    assert outputs["label"] == ["intent_2", ""]
    assert outputs["sureness"] == pytest.approx([near["sureness"], far["sureness"]], abs=1e-6)
    assert outputs["probability"] == pytest.approx([near["probability"], far["probability"]], abs=1e-6)


def test_v2_answers_binary_tensors_where_they_are_asked_for(server: Server) -> None:
    tensor = {"name": "text", "datatype": "BYTES", "shape": [3], "data": TEXTS}
    plain = {output["name"]: output for output in server.infer({"inputs": [tensor]})[1]["outputs"]}
    for body, binary in (
        (
            {"parameters": {"binary_data_output": True}},
            {"label", "out_of_scope", "probability", "sureness", "labels", "probabilities"},
        ),
        ({"outputs": [{"name": "label", "parameters": {"binary_data": True}}, {"name": "probability"}]}, {"label"}),
        (
            {
                "parameters": {"binary_data_output": True},
                "outputs": [{"name": "label"}, {"name": "out_of_scope", "parameters": {"binary_data": False}}],
            },
            {"label"},
        ),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", "/v2/models/toy/infer", json.dumps({"inputs": [tensor], **body}))
        response = connection.getresponse()
        data = response.read()
        connection.close()
        assert (response.status, response.headers["Content-Type"]) == (200, "application/octet-stream")
        length = int(response.headers["Inference-Header-Content-Length"])
        head, rest = json.loads(data[:length]), data[length:]
        for output in head["outputs"]:
            name = output["name"]
            assert (name in binary) == ("binary_data_size" in output.get("parameters", {})) == ("data" not in output)
            size = output.get("parameters", {}).get("binary_data_size", 0)
            part, rest = rest[:size], rest[size:]
            if name not in binary:
                assert output["data"] == plain[name]["data"]
            elif output["datatype"] == "FP32":
                assert np.frombuffer(part, "<f4").tolist() == pytest.approx(plain[name]["data"], abs=1e-6)
            elif output["datatype"] == "BOOL":
                assert [bool(byte) for byte in part] == plain[name]["data"]
            else:
                expected = [text.encode() for text in plain[name]["data"]]
                assert part == b"".join(len(text).to_bytes(4, "little") + text for text in expected)
        assert rest == b""
