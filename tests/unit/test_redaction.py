"""What is hidden of addresses, texts and parameters, and what stays readable."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest

from shipway import redaction, references
from shipway.errors import InvalidSpec
from shipway.storage.sources import fingerprint_source


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_known", set())
    monkeypatch.setattr(references, "_table", {})
    monkeypatch.delenv("SHIPWAY_RUN", raising=False)


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("http://h/rows.csv", "http://h/rows.csv"),
        ("http://h/rows.csv?page=2", "http://h/rows.csv?page=2"),
        ("http://h/r.csv?page=2&token=SWORDFISH", "http://h/r.csv?page=2&token=***"),
        ("http://h/r.csv?a=1;api_key=SWORDFISH", "http://h/r.csv?a=1;api_key=***"),
        ("http://h/r.csv?%74oken=SWORDFISH", "http://h/r.csv?%74oken=***"),
        ("http://h/r.csv#access_token=SWORDFISH", "http://h/r.csv#access_token=***"),
        ("http://h/r.csv?key=SWORDFISH&sort_key=a", "http://h/r.csv?key=***&sort_key=a"),
        ("http://h/r.csv?max_tokens=5&tokenizer=bert", "http://h/r.csv?max_tokens=5&tokenizer=bert"),
        ("https://u:SWORDFISH@h:8080/r.csv", "https://***@h:8080/r.csv"),
        ("https://SWORDFISH@h/r.csv", "https://***@h/r.csv"),
        ("https://u:SWORD@FISH@h/r.csv", "https://***@h/r.csv"),
        ("https://u:SWORD/FISH@h/r.csv", "https://***@h/r.csv"),
        ("http://h/r.csv?next=https%3A%2F%2Fi%2Fx%3Ftoken%3DSWORDFISH", "http://h/r.csv?next=***"),
        ("https://hooks.slack.com/services/T0/B0/SWORDFISH", "https://hooks.slack.com/***"),
        ("https://acme.webhook.office.com/webhookb2/SWORDFISH", "https://acme.webhook.office.com/***"),
        ("https://discord.com/api/webhooks/1/SWORDFISH", "https://discord.com/***"),
        ("https://api.telegram.org/botSWORDFISH/sendMessage", "https://api.telegram.org/***"),
    ],
)
def test_an_address_shows_where_and_not_by_what_right(given: str, shown: str) -> None:
    assert redaction.address(given) == shown
    assert redaction.address(shown) == shown
    assert redaction.text(f"data '{given}': the server answers 404") == f"data '{shown}': the server answers 404"


@pytest.mark.parametrize(
    "query",
    [
        "X-Amz-Algorithm=A&X-Amz-Credential=SWORDFISH%2F2&X-Amz-Date=20260101T0&X-Amz-Expires=60&X-Amz-Signature=SWORDFISH",
        "X-Amz-Security-Token=SWORDFISH&X-Amz-Signature=SWORDFISH",
        "sv=2022-11-02&se=2026-01-01&sr=b&sp=r&sig=SWORDFISH%3D",
        "Expires=1&Key-Pair-Id=SWORDFISH&Signature=SWORDFISH",
        "GoogleAccessId=SWORDFISH&Expires=1&Signature=SWORDFISH",
    ],
)
def test_of_a_presigned_address_the_names_stay(query: str) -> None:
    shown = redaction.address(f"https://b.example.com/rows.csv?{query}")
    assert "SWORDFISH" not in shown
    names = [pair.partition("=")[0] for pair in query.split("&")]
    assert [pair.partition("=")[0] for pair in shown.partition("?")[2].split("&")] == names


@pytest.mark.parametrize(
    "given",
    [
        "Authorization: Bearer SWORDFISH-1",
        "{'Authorization': 'Basic SWORDFISH'}",
        "cookie: authservice_session=SWORDFISH; a=b",
        "sent with bearer SWORDFISH-1.a.b",
        "AWS_SECRET_ACCESS_KEY=SWORDFISH",
        "{'password': 'SWORDFISH', 'user': 'me'}",
        '{"dbPassword": "SWORDFISH"}',
        '"{\\"api_key\\": \\"SWORDFISH\\"}"',
        "URL can't contain control characters. '/rows.csv?token=SWORDFISH x'",
        "password: SWORDFISH",
        "steps:\n  - api_key: 'SWORDFISH'  # mine\n",
        "aws_secret_access_key = SWORDFISH",
        'export token = "SWORDFISH"',
        "PGPASSWORD=SWORDFISH psql",
        r"'a=1\ntoken=SWORDFISH\n'",
        "tool --password SWORDFISH --verbose",
        "tool --api-key=SWORDFISH",
        "next=https%3A%2F%2Fh%2Fx%3Fa%3D1%26token%3DSWORDFISH",
        r'"https://h/x?a=1\u0026token=SWORDFISH"',
        json.dumps({"a": json.dumps({"b": json.dumps({"password": 'SWORD"FISH SWORDFISH', "c": 1})})}),
        "-----BEGIN RSA PRIVATE KEY-----\nSWORDFISH\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_text_shows_no_header_and_no_value_of_a_secret_name(given: str) -> None:
    assert "SWORDFISH" not in redaction.text(given)
    assert redaction.text(redaction.text(given)) == redaction.text(given)


@pytest.mark.parametrize(
    "given",
    [
        "token: SHIPWAY_KFP_TOKEN cannot be read",
        "tokenizer=bert, max_tokens=128, sort_key=a",
        "training.batch_size: got 'x', expected a whole number",
        "s3://shipway/datasets/0a1b/manifest.json: 404",
        "the Secret shipway-store in namespace kubeflow has no key SHIPWAY_STORE",
        "Basic authentication is off; bearer tokens are accepted",
        "secret: 'X' is not a Secret's name: lower case letters",
        "give --token-file PATH or --max-tokens 5",
        "password: env:PASSWORD",
    ],
)
def test_what_is_no_secret_is_left_alone(given: str) -> None:
    assert redaction.text(given) == given


def test_a_known_value_is_hidden_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SWORDFISH-store")
    redaction.know_address("http://h/rows.csv?token=SWORDFISH-query&x=1")
    redaction.know_hook("https://h/hooks/SWORDFISH-hook-0123456789?a=b")
    shown = redaction.text("a SWORDFISH-store b SWORDFISH-query c /hooks/SWORDFISH-hook-0123456789")
    assert "SWORDFISH" not in shown


def test_the_date_that_a_signature_comes_with_does_not_hide_the_date() -> None:
    redaction.know_address("https://h/rows.csv?sv=2022-11-02&se=2026-01-01&sig=SWORDFISH-sig%3D")
    assert redaction.text("on 2026-01-01: SWORDFISH-sig= and SWORDFISH-sig%3D") == "on 2026-01-01: *** and ***"


def test_a_key_that_is_a_plain_word_does_not_hide_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    redaction.know_key("secret", "password")
    assert redaction.text("the secret of this password") == "the secret of this password"


def test_the_error_itself_shows_no_secret() -> None:
    error = InvalidSpec("data: 'http://u:SWORDFISH@h/rows.csv?token=SWORDFISH' is empty")
    assert str(error) == "data: 'http://***@h/rows.csv?token=***' is empty"


def test_a_guarded_stream_hides_what_libraries_print(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    redaction.guard_streams()
    redaction.guard_streams()
    print("GET /rows.csv?token=SWORDFISH HTTP/1.1")
    assert stream.getvalue() == "GET /rows.csv?token=*** HTTP/1.1\n"
    assert not sys.stdout.isatty()


def test_parameters_come_back_as_they_were_given() -> None:
    given = {
        "name": "bot",
        "data": "http://h/rows.csv?token=SWORDFISH-1",
        "webhook": "http://h/hooks/SWORDFISH-2",
        "password": "SWORDFISH-3",
        "api_token": "SWORDFISH-4",
        "more": {"data": "http://h/rows.csv?token=SWORDFISH-5", "list": ["http://u:SWORDFISH-6@h/"], "port": 1},
    }
    hidden, secrets = references.hide(given)
    assert "SWORDFISH" not in str(hidden)
    assert hidden["data"] == "http://h/rows.csv?token=***"
    assert len(secrets) == 6  # two addresses that differ in the secret alone are told apart
    assert references.reveal_all(hidden) == given
    assert references.conceal_all(given) == hidden
    together = {"url": f"https://{hidden['password']}@h/x", "spec": '{"data": "http://h/rows.csv?token=***"}'}
    assert references.reveal_all(together) == {**together, "url": "https://SWORDFISH-3@h/x"}
    assert references.hide(hidden) == (hidden, {})


def test_a_reference_is_looked_up_where_the_data_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\na,b\n")
    monkeypatch.setenv("MY_DATA", str(rows))
    assert fingerprint_source("env:MY_DATA") == fingerprint_source(str(rows))
    monkeypatch.delenv("MY_DATA")
    with pytest.raises(InvalidSpec, match="env:MY_DATA: the variable MY_DATA is not set here"):
        fingerprint_source("env:MY_DATA")
    assert references.hide({"data": "env:MY_DATA", "api_token": "env:MY_TOKEN"})[1] == {}


def test_a_password_that_is_a_word_for_secrets_takes_no_word_out_of_messages() -> None:
    redaction.know("secret", "Password", "swordfish")
    assert redaction.text("the secret key of swordfish; no Password here") == "the secret key of ***; no Password here"
    assert redaction.address("http://h/rows?token=secret") == "http://h/rows?token=***"


def test_a_number_that_is_a_secret_is_hidden_and_the_document_stays_one() -> None:
    shown = redaction.text('{"a": 12345678, "password": 12345678, "b": ["x"]}')
    assert json.loads(shown) == {"a": 12345678, "password": "***", "b": ["x"]}


LONG = {
    "slashes": "\\" * 50_000,
    "quotes": "a='" * 50_000,
    "lines": "password: 'x\n" * 20_000,
    "names": '"password": "' * 9000,
}


@pytest.mark.parametrize("what", LONG)
def test_no_text_takes_long(what: str) -> None:
    redaction.text(LONG[what])  # a pattern that goes back and forth would not come to an end


@pytest.mark.parametrize("end", ["'x", "\\", " x", "/SWORDFISH", "\nx", "@x"])
def test_a_password_of_any_characters_is_hidden_in_a_parameter(end: str) -> None:
    assert redaction.value_of("data", f"http://u:SWORDFISH{end}@h/rows.csv?a=1") == "http://***@h/rows.csv?a=1"


def test_what_the_doctor_finds_shows_no_secret_of_an_address() -> None:
    from shipway.doctor import Finding

    found = Finding("store", "missing", "nobody answers at http://u:SWORDFISH@h:9?X-Amz-Signature=SWORDFISH", "")
    assert found.found == "nobody answers at http://***@h:9?X-Amz-Signature=***"


def test_the_name_of_a_secret_of_the_cluster_is_no_secret() -> None:
    command = (
        'kubectl patch secret shipway-store -p \'{"stringData": {"SHIPWAY_REPLICA_SECRET": "shipway-replica-store"}}\''
    )
    assert redaction.text(command) == command
    assert "hunter2" not in redaction.text('{"MY_REPLICA_SECRET": "hunter2hunter2"}')
