"""`list`, `describe`, `compile`: what is there, and what it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, table
from shipway.cli.kubeflow import Digest, DigestFile, Secret, read_digests
from shipway.store_secret import DEFAULT_SECRET


def list_(as_json: AsJson = False) -> None:
    """Components and pipelines, with what each does; of a pipeline of yours that does not load, why."""
    from shipway.catalog import catalog

    entries = catalog()
    if as_json:
        print_json([entry.summary() for entry in entries])
        return
    for kind in ("pipeline", "component"):
        rows = [(entry.name, _line(entry.summary())) for entry in entries if entry.kind == kind]
        table([kind, "what it does"], rows)
        say()
    say("Next: shipway describe NAME", style="dim")


def _line(summary: dict[str, Any]) -> str:
    return f"does not load: {summary['error']}" if "error" in summary else str(summary["description"])


def describe(
    name: Annotated[str, typer.Argument(help="As `shipway list` names it: train_and_deploy, evaluate.model.")],
    as_json: AsJson = False,
) -> None:
    """What a component or pipeline takes and gives."""
    from shipway.catalog import find

    entry = find(name)
    if as_json:
        print_json(entry.details())
        return
    details = entry.details()
    heading(f"{entry.kind} {entry.name}")
    say(details["description"])
    say()
    rows = [(i["name"], i["type"], _default(i), i["description"]) for i in details["inputs"]]
    table(["input", "type", "default", "meaning"], rows)
    if details["outputs"]:
        say()
        table(["output", "type", "meaning"], [(o["name"], o["type"], o["description"]) for o in details["outputs"]])
    if details["presets"]:
        say()
        table(["preset", "what for"], list(details["presets"].items()))
    if details["sections"]:
        say()
        fields = [(section, ", ".join(names)) for section, names in details["sections"].items()]
        table(["overrides of", "fields"], fields)
    if entry.kind == "pipeline":
        required = [f"{i['name']}=..." for i in details["inputs"] if i["required"]]
        say()
        say(
            f"Next: shipway run {entry.name} --local {' '.join(['--param', *required] if required else [])}",
            style="dim",
        )
    else:
        say()
        facts([("image", details["image"]), ("import", details["import"])])


def _default(entry: dict[str, Any]) -> str:
    return "required" if entry["required"] else repr(entry["default"])


def compile_(
    pipeline: Annotated[str, typer.Argument(help="A pipeline, file.py:function or package.module:function.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write (default PIPELINE.yaml).")] = None,
    registry: Annotated[str | None, typer.Option(help="Registry and path instead of the package's own.")] = None,
    digest: Digest = None,
    digests: DigestFile = None,
    secret: Secret = DEFAULT_SECRET,
    as_json: AsJson = False,
) -> None:
    """Compile to KFP IR YAML, with your registry's images and your store's Secret."""
    from shipway.compiling import compile_pipeline

    pins = read_digests(digest, digests)
    name = pipeline.rpartition(":")[2] if ":" in pipeline else Path(pipeline).stem
    written = compile_pipeline(pipeline, out or Path(f"{name}.yaml"), registry=registry, digests=pins, secret=secret)
    if as_json:
        print_json({"pipeline": pipeline, "path": str(written), "size_bytes": written.stat().st_size})
        return
    say(f"Wrote {written} ({written.stat().st_size / 1000:.0f} KB).")
    say("Next: upload it in the Kubeflow UI (Pipelines, Upload pipeline); `shipway publish` does both.", style="dim")
