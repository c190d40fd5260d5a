"""`endpoints list|show|stop` and `predict`."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, table
from shipway.cli.place import Kfp, Local, connection, is_there

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shipway.executors.process.service_state import EndpointState

app = typer.Typer(help="Endpoints of this machine.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The endpoint's name.")]
TIMEOUT_S = 30.0


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """Endpoints, with what they serve and where."""
    found = [_document(state) for state in _running()]
    if as_json:
        print_json(found)
        return
    if not found:
        say("No endpoint is running. Next: shipway demo")
        return
    rows = [(e["name"], e["state"], e["version"], e["url"]) for e in found]
    table(["endpoint", "state", "version", "url"], rows, right=["version"])
    say(f"Next: shipway predict {found[0]['name']} 'some text'", style="dim")


@app.command()
def show(name: Name, as_json: AsJson = False) -> None:
    """One endpoint: state, revisions, how to ask it."""
    from shipway.cli.screens import curl_line

    found = _document(_find(name))
    if as_json:
        print_json(found)
        return
    heading(f"endpoint {name}")
    facts([(key.replace("_", " "), found[key]) for key in ("state", "url", "predict_url", "version", "log")])
    say()
    say(curl_line(found, "some text"))


@app.command()
def deploy(
    name: Annotated[str, typer.Argument(help="The model's name; its endpoint has the same.")],
    version: Annotated[str, typer.Argument(help="A number, `latest`, `candidate` or `champion`.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Serve a registered version: what a rollback ends with."""
    from shipway.cli.places import open_store
    from shipway.components.deploy.launch import deploy_version

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
    text: Annotated[list[str], typer.Argument(help="One or more texts; `-` reads lines from standard input.")],
    kfp: Kfp = None,
    local: Local = False,
    as_json: AsJson = False,
) -> None:
    """Ask an endpoint, of this machine or of Kubeflow's cluster."""
    from shipway.report.numbers import percent

    texts = [line.rstrip("\n") for line in sys.stdin if line.strip()] if text == ["-"] else text
    if is_there(kfp, local):
        from shipway.remote.endpoints import ask as ask_there

        settings = connection(kfp).settings
        predictions = ask_there(name, texts, settings.namespace or settings.install)
    else:
        predictions = ask(_document(_find(name))["predict_url"], texts)
    if as_json:
        print_json([{"text": given, **answer} for given, answer in zip(texts, predictions, strict=True)])
        return
    rows, styles = [], []
    for given, answer in zip(texts, predictions, strict=True):
        best = answer_of(answer)
        rows.append((given, best[0], percent(best[1])))
        styles.append("yellow" if answer.get("out_of_scope") else None)
    table(["text", "intent", "probability"], rows, right=["probability"], styles=styles)


def answer_of(answer: dict[str, Any]) -> tuple[str, float | None]:
    """Intent and probability of one V1 prediction."""
    label = answer.get("label")
    return "none of these" if label is None else str(label), answer.get("probability")


def ask(url: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    """V1 predictions of texts.

    Raises:
        UserError: the endpoint refuses the request; says why.
        ShipwayError: nobody answers.
    """
    from urllib.error import HTTPError, URLError
    from urllib.request import ProxyHandler, Request, build_opener

    from shipway.errors import ShipwayError, UserError

    body = json.dumps({"instances": list(texts)}).encode()
    request = Request(url, data=body, headers={"Content-Type": "application/json"})
    try:
        # An endpoint of this machine is never behind a proxy.
        with build_opener(ProxyHandler({})).open(request, timeout=TIMEOUT_S) as response:
            predictions = json.loads(response.read())["predictions"]
    except HTTPError as error:
        told = _reason(error.read().decode(errors="replace").strip())
        kind = UserError if error.code < 500 else ShipwayError
        raise kind(f"predict: {url} answered {error.code}: {told}") from error
    except (URLError, OSError, ValueError, KeyError) as error:
        raise ShipwayError(f"predict: no answer from {url}; `shipway endpoints list` shows what runs") from error
    return [p if isinstance(p, dict) else {"label": p} for p in predictions]


def _reason(body: str) -> str:
    """What a predictor says in `error`, else the body as it is."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return body[:500]


def _running() -> list[EndpointState]:
    from shipway.context import Context
    from shipway.executors.process.service import list_endpoints

    return list_endpoints(Context.current())


def _find(name: str) -> EndpointState:
    from shipway.errors import NotFound, nearest

    states = {state.name: state for state in _running()}
    if name not in states:
        known = f"running: {', '.join(states)}" if states else "none is running"
        raise NotFound(f"endpoints: no endpoint {name!r}; {known}{nearest(name, states)}")
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
    from shipway.cli.places import open_store
    from shipway.errors import ShipwayError

    try:
        found = json.loads(open_store().get(f"endpoints/{name}.json")).get("version")
    except (ShipwayError, ValueError):
        return None
    return int(found) if found is not None else None
