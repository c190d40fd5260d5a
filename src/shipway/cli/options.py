"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Params = Annotated[
    list[str] | None,
    typer.Option("--param", "-p", help="key=value ...; several after one --param; dots reach into mappings."),
]
ParamsFile = Annotated[Path | None, typer.Option("--params-file", "-f", help="YAML or JSON file of parameters.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Start anew: no cached step, no run to go on with.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, print the plan, start nothing.")]
Kfp = Annotated[
    str | None,
    typer.Option("--kfp", help="Kubeflow Pipelines' address, or auto; default: what is configured."),
]
Local = Annotated[bool, typer.Option("--local", help="This machine, though a Kubeflow may be configured.")]
Key = Annotated[
    str, typer.Argument(help="A run's key or its beginning, or its idempotency key; `last` for the newest.")
]
StartedBy = Annotated[str | None, typer.Option("--started-by", help="Who or what starts it; default: you.")]
EventKey = Annotated[
    str, typer.Option("--key", help="Idempotency key, an event's id: the run that has it is shown, not started again.")
]
