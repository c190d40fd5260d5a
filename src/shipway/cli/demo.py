"""`demo`: the whole way on real rows, by the commands that a stranger's data takes."""

from __future__ import annotations

import json
from shlex import quote
from typing import Annotated

import typer

from shipway.cli.console import AsJson, say
from shipway.cli.options import DryRun, Fresh, Params
from shipway.cli.running import play

Recipe = Annotated[str, typer.Option(help="Shipped recipe whose demo to run.", show_default=True)]


def demo(
    recipe: Recipe = "intents",
    param: Params = None,
    fresh: Fresh = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """The whole way on real rows, to an endpoint."""
    from shipway import demos
    from shipway.cli.arguments import collect_params
    from shipway.context import Context

    chosen = demos.load(recipe)
    params = {**demos.params(chosen, Context.current().home), **collect_params(param or [])}
    if not as_json:
        say(f"The demo: {chosen.about}")
        say(
            f"The same by hand: shipway run {chosen.pipeline} --local --param "
            + " ".join(f"{k}={v if isinstance(v, str) else quote(json.dumps(v))}" for k, v in params.items())
        )
    play(chosen.pipeline, params, fresh=fresh, dry_run=dry_run, as_json=as_json)
