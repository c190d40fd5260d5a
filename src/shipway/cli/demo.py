"""`demo`: the whole way on real rows, by the commands that a stranger's data takes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from shipway.cli.console import AsJson, say
from shipway.cli.options import DryRun, Fresh, Params
from shipway.cli.running import play

if TYPE_CHECKING:
    from typing import Any

NAME = "home-intents"
PIPELINE = "train_and_deploy"


def demo(param: Params = None, fresh: Fresh = False, dry_run: DryRun = False, as_json: AsJson = False) -> None:
    """The whole way on real rows, to an endpoint."""
    from shipway.cli.arguments import collect_params
    from shipway.context import Context

    params = {**demo_params(Context.current().home), **collect_params(param or [])}
    if not as_json:
        say("The demo: intents of a deployed voice assistant, from a CSV like yours to an endpoint that answers.")
        say(
            f"The same by hand: shipway run {PIPELINE} --local --param "
            + " ".join(f"{k}={v}" for k, v in params.items())
        )
    play(PIPELINE, params, fresh=fresh, dry_run=dry_run, as_json=as_json)


def demo_params(home: Path) -> dict[str, Any]:
    """Writes the demo's CSV, unless it lies there, and names its columns."""
    from shipway import private
    from shipway.demo_data import write_intents_csv

    data = home / "demo" / "intents.csv"
    if not data.exists():
        private.make_folder(data.parent)
        part = data.with_suffix(".part")
        private.write_text(part, "")
        write_intents_csv(part)
        part.replace(data)  # half a file must not pass for the demo's data ever after
    return {"name": NAME, "data": str(data), "group_column": "group", "preset": "demo"}
