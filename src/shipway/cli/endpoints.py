"""`endpoints list|show|stop` and `predict`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, table
from shipway.cli.options import Kfp, Local

if TYPE_CHECKING:
    from collections.abc import Callable

    from shipway.cli.wording import Wording
    from shipway.executors.process.service_state import EndpointState

app = typer.Typer(help="Endpoints of this machine.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The endpoint's name.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Endpoints, with what they serve and where."""
    documents = [_document(state) for state in _running()]
    if as_json:
        print_json(documents)
        return
    if not documents:
        say("No endpoint is running. Next: shipway demo")
        return
    rows = [(e["name"], e["state"], e["version"], e["url"]) for e in documents]
    table(["endpoint", "state", "version", "url"], rows, right=["version"])
    for lost in (endpoint for endpoint in documents if endpoint["state"] == "Lost"):
        say(
            f"{lost['name']} was killed, and nothing serves it: shipway endpoints deploy {lost['name']} "
            f"{lost['version'] or ''}".rstrip()
            + " brings it back",
            style="yellow",
        )
    say(f"Next: shipway predict {documents[0]['name']} '...'", style="dim")


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """One endpoint: state, revisions, how to ask it."""
    from shipway.cli.screens import curl_line

    document = _document(_find(name))
    if as_json:
        print_json(document)
        return
    heading(f"endpoint {name}")
    facts([(key.replace("_", " "), document[key]) for key in ("state", "url", "predict_url", "version", "log")])
    say()
    say(curl_line(document, "..."))


@app.command()
def deploy(
    name: Annotated[str, typer.Argument(help="The model's name; its endpoint has the same.")],
    version: Annotated[str, typer.Argument(help="A number, `latest`, `candidate` or `champion`.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Serve a registered version: what a rollback ends with."""
    from shipway.components.deploy.launch import deploy_version
    from shipway.local.store import open_store

    open_store()
    done = deploy_version(name, version)
    if as_json:
        print_json({"name": name, "version": done.version.version, "predict_url": done.predict_url})
    else:
        say(f"Version {done.version.version} of {name} answers at {done.predict_url}", style="green")


@app.command()
def stop(name: Name, as_json: AsJson = False) -> None:
    """Stop an endpoint; the next deployment starts it again."""
    from shipway.context import Context
    from shipway.executors.process.service import stop_endpoint

    stopped = stop_endpoint(Context.current(), _find(name).name)
    if as_json:
        print_json({"name": name, "stopped": stopped})
    else:
        say(f"Stopped endpoint {name}." if stopped else f"Endpoint {name} had ended already.")


def predict(
    name: Name,
    text: Annotated[
        list[str], typer.Argument(help="One or more instances, as the model's input is typed; `-` reads lines of them.")
    ],
    kfp: Kfp = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Ask an endpoint, of this machine or of Kubeflow's cluster.

    With `-` each line of standard input, blank ones too, gets one line on standard output, in order and while the input
    still comes: the answer's cells and the line between tabs, or with --json an object a line.
    """
    from shipway.cli.wording import Wording
    from shipway.remote.where import connected
    from shipway.runs.endpoint import Endpoint

    if (kubeflow := connected(kfp, here=local)) is not None:
        from shipway.remote.endpoints import address, find

        namespace = kubeflow.settings.namespace or kubeflow.settings.install
        there = find(name, namespace)
        endpoint, recipe, code = Endpoint(name, address(name, namespace)), there.recipe, there.code
    else:
        endpoint, recorded = Endpoint(name, _document(_find(name))["predict_url"]), _recorded(name)
        recipe, code = str(recorded.get("recipe", "")), str((recorded.get("spec") or {}).get("code", ""))
    put, wording = endpoint.predict, Wording.of(recipe, code)
    if wording.unknown:
        print(f"note: what you type is sent as it stands, and answers are shown so: {wording.unknown}", file=sys.stderr)
    if text == ["-"]:
        _answer_input(put, wording, as_json)
        return
    predictions = put([wording.instance(line) for line in text])
    if as_json:
        print_json([_told(wording, line, answer) for line, answer in zip(text, predictions, strict=True)])
        return
    headings = wording.headings(predictions)
    rows = [(line, *wording.cells(answer, headings, line)) for line, answer in zip(text, predictions, strict=True)]
    table([wording.given, *headings], rows)


def _answer_input(put: Callable[[list[Any]], list[Any]], wording: Wording, as_json: bool) -> None:
    from shipway.cli.lines import BATCH_LINES, answer_lines

    is_typed = sys.stdin.isatty()
    headings: list[str] = []  # of the first answer: all lines have the same cells
    lines = answer_lines(sys.stdin.buffer, put, 1 if is_typed else BATCH_LINES, wording.instance)
    for given, answer in lines:
        if as_json:
            print(json.dumps(_told(wording, given, answer), ensure_ascii=False), flush=is_typed)
            continue
        headings = headings or wording.headings([answer])
        cells = [" ".join(cell.split()) for cell in wording.cells(answer, headings, given)]
        print(*cells, given.replace("\r", " "), sep="\t", flush=is_typed)
    sys.stdout.flush()


def _told(wording: Wording, line: str, answer: Any) -> dict[str, Any]:
    """An answer as --json prints it."""
    return {wording.given: line, **(answer if isinstance(answer, dict) else {"answer": answer})}


def _running() -> list[EndpointState]:
    from shipway.context import Context
    from shipway.executors.process.service import list_endpoints

    return list_endpoints(Context.current())


def _find(name: str) -> EndpointState:
    from shipway.errors import NotFound, nearest

    states = {state.name: state for state in _running()}
    if name not in states:
        known = f"running: {', '.join(states)}" if states else "none is running"
        raise NotFound(f"no endpoint {name!r}; {known}{nearest(name, states)}", field="endpoints", given=name)
    return states[name]


def _document(state: EndpointState) -> dict[str, Any]:
    from shipway.context import Context

    folder = Context.current().home / "endpoints" / state.name
    current = state.current
    return {
        "name": state.name,
        "state": state.state,
        "url": state.url,
        "predict_url": f"{state.url}/v1/models/{state.name}:predict",
        "version": _served_version(state.name),
        "revision": current.number if current else None,
        "restarts": current.restarts if current else 0,
        "log": str(folder / current.log) if current else "",
    }


def _served_version(name: str) -> int | None:
    """The registered version that deploy recorded for the endpoint."""
    recorded_version = _recorded(name).get("version")
    return int(recorded_version) if recorded_version is not None else None


def _recorded(name: str) -> dict[str, Any]:
    """What deploy recorded for the endpoint; empty where there is none."""
    from shipway.errors import ShipwayError
    from shipway.local.store import open_store

    try:
        document = json.loads(open_store().get(f"endpoints/{name}.json"))
    except (ShipwayError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
