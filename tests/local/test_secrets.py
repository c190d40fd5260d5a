"""Secrets at rest and on the way: runs with recognisable ones, then a search of all they wrote, showed and started."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from shipway.storage import Store, embedded
from shipway.storage.server import read_info
from tests.fixtures.strangers_rows import write_rows

pytestmark = pytest.mark.xdist_group("secrets")

SHIPWAY = str(Path(sys.executable).with_name("shipway"))
PIPELINES = Path(__file__).with_name("secret_pipelines.py")
MARK = "SWORDFISH"
QUERY, OTHER, HOOK, PASSWORD = (f"{MARK}-{word}-0123456789" for word in ("query", "other", "hook", "password"))
# Where values are kept, each 0600 in a folder of 0700: what the run needs to go on, and the local store's own keys.
KEPT = ("request.json", "server.json", "s3.json")
TINY = {"training": {"params": {"dim": 16, "hidden": 16}, "epochs": 4, "batch_size": 32}}
COLUMNS = {"input_column": "utterance", "label_column": "intent", "preset": "quick", "overrides": TINY}


class Site:
    """A small server: rows for who knows the token, and a webhook."""

    def __init__(self, rows: bytes) -> None:
        self.rows, self.told, self.refused = rows, [], 0  # type: ignore[var-annotated]
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._rows(b"")

            def do_GET(self) -> None:
                # `late` answers whoever only looks, and nobody who comes for the rows.
                self.send_error(404) if self.path.startswith("/late") else self._rows(site.rows)

            def do_POST(self) -> None:
                site.told.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204 if HOOK in self.path else 403)
                self.end_headers()

            def _rows(self, body: bytes) -> None:
                if not any(f"token={token}" in self.path for token in (QUERY, OTHER)):
                    site.refused += 1
                    self.send_error(403)
                    return
                self.send_response(200)
                for name, value in (("Content-Type", "text/csv"), ("ETag", '"1"'), ("Content-Length", len(site.rows))):
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


class Watcher:
    """Reads the command lines of all processes that begin after it, again and again: a program may replace another."""

    def __init__(self) -> None:
        self.leaks: set[str] = set()
        self.seen: set[str] = set()
        self._others = set(os.listdir("/proc"))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            for name in set(os.listdir("/proc")) - self._others:
                try:
                    with open(f"/proc/{name}/cmdline", "rb", buffering=0) as file:
                        line = file.read()
                except OSError:
                    continue
                self.seen.add(name)
                if MARK.encode() in line:
                    self.leaks.add(line.replace(b"\0", b" ").decode(errors="replace"))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


class Person:
    """One user's folder, home and terminal; the umask is the one that distributions set."""

    def __init__(self, top: Path) -> None:
        self.folder, self.private = top / "work", top / "private"
        self.folder.mkdir(parents=True)
        self.private.mkdir(mode=0o700)
        self.scratch = top / "tmp"
        self.scratch.mkdir()
        self.home = self.folder / ".shipway"
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(("SHIPWAY_", "AWS_"))}
        self.environment |= {"TMPDIR": str(self.scratch), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        self.shown: list[str] = []
        self.run = ""

    def start(self, *arguments: str, params: dict[str, Any] | None = None, **env: str) -> subprocess.Popen[str]:
        if params is not None:
            arguments = (*arguments, "--params-file", str(self.write_params(params)))
        return self.open([SHIPWAY, *arguments], env)

    def open(self, command: list[str], env: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command, cwd=self.folder, env={**self.environment, **env}, text=True, umask=0o022,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def write_params(self, params: dict[str, Any]) -> Path:
        path = self.private / f"params-{time.monotonic_ns()}.json"
        path.write_text(json.dumps(params))
        return path

    def call_all(self, *commands: tuple[str, ...]) -> None:
        """Command lines in one process, whatever comes of them: what they say counts."""
        script = self.private / "commands.py"
        script.write_text(
            "from contextlib import suppress\nfrom shipway.cli.main import main\n"
            f"for command in {list(commands)!r}:\n    with suppress(SystemExit):\n        main(command)\n"
        )
        self.shown.append(self.open([sys.executable, str(script)], {}).communicate(timeout=280)[0])

    def call(self, *arguments: str, code: int = 0, **more: Any) -> str:
        process = self.start(*arguments, **more)
        out, _ = process.communicate(timeout=280)
        self.shown.append(out)
        assert process.returncode == code, out
        return out

    def reached(self, task: str, state: str) -> bool:
        for path in self.home.glob("runs/*/events.jsonl"):
            for line in path.read_text().splitlines():
                step = json.loads(line).get("step") or {}
                if step.get("task") == task and step.get("state") == state:
                    return True
        return False


def until(condition: Any, what: str) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, f"still waiting until {what}"
        time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    rows = tmp_path_factory.mktemp("rows") / "rows.csv"
    write_rows(rows)
    found = Site(rows.read_bytes())
    yield found
    found.server.shutdown()


@pytest.fixture(scope="module")
def watcher() -> Iterator[Watcher]:
    found = Watcher()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory, site: Site, watcher: Watcher) -> Iterator[Person]:
    """Has done everything: a whole run that was killed and typed again, and runs that fail in every way."""
    found = Person(tmp_path_factory.mktemp("person"))
    try:
        _whole_run(found, site)
        _failing_runs(found, site)
        _own_pipeline(found)
        found.call_all(
            ("runs", "list", "--json"), ("runs", "show", "last"), ("runs", "show", found.run, "--json"),
            ("logs", "last"), ("logs", found.run), ("reports", "open", found.run, "--no-browser"),
            ("reports", "open", found.run, "--no-browser", "--out", str(found.folder / "mine")),
        )  # fmt: skip
        yield found
    finally:
        found.start("down").wait()


def _whole_run(person: Person, site: Site) -> None:
    params = {"name": "my-bot", "data": f"{site.url}/rows.csv?token={QUERY}", "webhook": f"{site.url}/hooks/{HOOK}"}
    typed = ("run", "train_and_deploy", "--local")
    killed = person.start(*typed, params={**params, **COLUMNS})
    until(lambda: killed.poll() is not None or person.reached("dataset", "Running"), "the dataset is made")
    assert killed.poll() is None, killed.communicate()[0]
    killed.kill()
    person.shown.append(killed.communicate()[0])
    person.call(*typed, params={**params, **COLUMNS})
    again = person.call("clone", "last", "--json")  # comes from the cache, and needs the address again
    person.run = json.loads(again[again.index("{") :])["run"]


def _failing_runs(person: Person, site: Site) -> None:
    def fails(data: str, **more: Any) -> tuple[str, ...]:
        path = person.write_params({"name": "bad", "data": data, **COLUMNS, **more})
        return ("run", "train_and_deploy", "--local", "--json", "--params-file", str(path))

    rows = f"{site.url}/rows.csv?token="
    env = {"MY_DATA": f"{site.url}/late.csv?token={QUERY}"}
    person.call(*fails(rows + QUERY, input_column="utterence", webhook=f"{site.url}/wrong/{HOOK[::-1]}"), code=2)
    person.call(*fails("env:MY_DATA", webhook=f"http://127.0.0.1:9/hooks/{HOOK}"), code=2, **env)
    person.call_all(  # refused before anything starts
        fails(rows + QUERY[:-1]),
        fails(f"{rows}{QUERY} x"),
        fails(f"http://me:{PASSWORD}@127.0.0.1:9x/rows.csv"),
        fails(f"http://me:{PASSWORD}/{PASSWORD}@127.0.0.1/rows.csv"),
        fails(f"htp://me:{PASSWORD}@127.0.0.1/rows.csv"),
        fails("rows.csv", overrides=f"{{password: {PASSWORD}"),
        fails("rows.csv", workers=f"http://me:{PASSWORD}@127.0.0.1/"),
    )


def _own_pipeline(person: Person) -> None:
    """A pipeline of one's own, whose component is given a password, uses it, and breaks with it in its hands."""
    params = {"password": PASSWORD, "address": f"https://h/x?token={QUERY}"}
    person.call("run", f"{PIPELINES}:knocking", "--local", params=params)
    person.call("run", f"{PIPELINES}:knocking", "--local", params={**params, "breaks": True}, code=1)


def files_of(person: Person) -> Iterator[Path]:
    for top in (person.folder, person.scratch):
        yield from (path for path in top.rglob("*") if path.is_file() and not path.is_symlink())


def test_the_runs_did_what_the_secrets_are_for(person: Person, site: Site) -> None:
    assert [json.loads(body)["state"] for path, body in site.told if path == f"/hooks/{HOOK}"] == ["Succeeded"] * 2
    assert any(path == f"/wrong/{HOOK[::-1]}" for path, _ in site.told)
    assert f"knocked with {len(PASSWORD)} characters" in "".join(
        p.read_text() for p in person.home.glob("runs/*/knock.log")
    )


def test_nothing_that_was_written_holds_a_secret(person: Person) -> None:
    leaks = [
        str(path)
        for path in files_of(person)
        if path.name not in KEPT and any(word in path.read_bytes() for word in (MARK.encode(), HOOK[::-1].encode()))
    ]
    assert leaks == []
    kept = [path for path in files_of(person) if path.name in KEPT]
    assert {path.name for path in kept} == set(KEPT)
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}
    assert {stat.S_IMODE(path.parent.stat().st_mode) for path in kept} == {0o700}


def test_nothing_in_the_store_holds_a_secret(person: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    info = read_info(person.home)
    assert info is not None
    for name, value in embedded.environment(info).items():
        monkeypatch.setenv(name, value)
    store = Store.open("s3://shipway")
    contents = {entry.key: store.get(entry.key) for entry in store.list("")}
    assert any(key.endswith("run.json") for key in contents)
    secrets = [MARK.encode(), HOOK[::-1].encode(), info.secret_key.encode()]
    assert [key for key, content in contents.items() if any(secret in content for secret in secrets)] == []


def test_nothing_that_was_shown_holds_a_secret(person: Person) -> None:
    assert not [text for text in person.shown if MARK in text or HOOK[::-1] in text]


def test_no_command_line_held_a_secret(person: Person, watcher: Watcher) -> None:
    assert len(watcher.seen) > 20
    assert watcher.leaks == set()


def test_local_state_is_for_its_user_alone(person: Person) -> None:
    wrong = {
        str(path): oct(mode)
        for path in (person.home, *person.home.rglob("*"))
        if not path.is_symlink() and (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077
    }
    assert wrong == {}


def test_a_report_that_is_saved_elsewhere_follows_the_umask(person: Person) -> None:
    saved = list((person.folder / "mine").glob("*.html"))
    assert saved
    assert {stat.S_IMODE(path.stat().st_mode) for path in saved} == {0o644}


def test_a_home_of_an_earlier_version_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shipway.context import Context

    home = tmp_path / "home"
    (home / "runs" / "r").mkdir(parents=True)
    (home / "runs" / "r" / "request.json").write_text("{}")
    (home / "notes.txt").write_text("mine")
    for path in (home, home / "runs", home / "runs" / "r"):
        path.chmod(0o755)
    monkeypatch.setenv("SHIPWAY_HOME", str(home))
    Context.current().make_home()
    modes = [oct(stat.S_IMODE(path.stat().st_mode)) for path in (home, home / "runs", home / "runs" / "r")]
    assert modes == ["0o700"] * 3
    assert stat.S_IMODE((home / "runs" / "r" / "request.json").stat().st_mode) == 0o600


def test_what_runs_are_called_and_cached_by_gives_no_secret_away(person: Person) -> None:
    from shipway.local.prepared import prepare

    def key(pipeline: str, home: str, **params: Any) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SHIPWAY_HOME", home)
            return prepare(pipeline, params).key()

    own, home = f"{PIPELINES}:knocking", tempfile.mkdtemp(dir=person.private)
    assert key(own, home, password=PASSWORD) == key(own, home, password=PASSWORD)
    assert key(own, home, password=PASSWORD) != key(own, home, password=PASSWORD[::-1])
    assert key(own, home, password=PASSWORD) != key(own, tempfile.mkdtemp(dir=person.private), password=PASSWORD)
