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
