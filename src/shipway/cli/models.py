"""`models list|show|diff|promote|rollback`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shipway.cli.console import AsJson, facts, heading, print_json, say, table

if TYPE_CHECKING:
    from shipway.registry import Registry, Standing

app = typer.Typer(help="Registered versions and the champion.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="The model's name.")]
_COLUMNS = 2  # metrics of a version in a list
_VERSION = "A number, `latest`, `candidate` or `champion`."
Reason = Annotated[str, typer.Option(help="Why; kept in the alias's history.")]
From = Annotated[
    str | None,
    typer.Option("--from", help="The champion that you saw, a number or `none`; refused where it is another by now."),
]


@app.command("list")
def list_(
    name: Annotated[str | None, typer.Argument(help="Only this name.")] = None,
    as_json: AsJson = False,
) -> None:
    """Versions, the newest first within a name."""
    versions = _registry().list(name) if name or _anything() else []
    if as_json:
        print_json(versions)
        return
    if not versions:
        say("No models yet. Next: shipway demo")
        return
    from shipway.pages.numbers import bytes_text, figure, inline

    shown = {info.name: info for v in versions for info in v.shown[:_COLUMNS]}
    rows = [
        (v.name, v.version, " ".join(v.aliases),
         *(figure(v.metrics.get(name), info.is_share) for name, info in shown.items()),
         "cannot be used" if v.error else v.decision,
         bytes_text(v.size_bytes), v.created_at.replace("T", " ")[:19], v.run)
        for v in versions
    ]  # fmt: skip
    titles = [inline(info.title) for info in shown.values()]
    columns = ["name", "version", "alias", *titles, "decision", "size", "created (UTC)", "run"]
    table(columns, rows, right=["version", *titles, "size"])
    for v in versions:
        if v.error:
            say(v.error, style="yellow")
    say(f"Next: shipway models show {versions[0].name} {versions[0].version}", style="dim")


@app.command()
def show(
    name: Name, version: Annotated[str, typer.Argument(help=_VERSION)] = "latest", as_json: AsJson = False
) -> None:
    """One version: how good, trained on what, with which parameters."""
    from shipway.pages.numbers import figure, inline
    from shipway.registry.card import variants_table

    registry = _registry()
    shown = registry.get(name, version)
    aliases = [alias for alias, target in registry.aliases(name).items() if target == shown.version]
    if as_json:
        print_json(
            {**shown.model_dump(mode="json"), "aliases": aliases, "card": registry.card_uri(name, shown.version)}
        )
        return
    heading(f"{shown.name} version {shown.version}" + (f" ({', '.join(aliases)})" if aliases else ""))
    model = shown.model
    pairs: list[tuple[str, Any]] = [
        ("created", shown.created_at),
        ("run", shown.run),
        ("digest", shown.digest),
        ("files", model.uri),
        ("served variant", f"{model.serving} ({model.served.digest})"),
        ("task", f"{model.task}, {len(model.labels)} labels" if model.labels else model.task),
        ("trained", model.how_trained),
        *([("code", model.code)] if model.code else []),
        ("parameters", ", ".join(f"{key}={value}" for key, value in sorted(model.params.items()))),
        ("dataset", f"{shown.dataset_uri} ({shown.dataset_source})" if shown.dataset_source else shown.dataset_uri),
        ("card", registry.card_uri(name, shown.version)),
    ]
    if shown.decision:
        pairs.append(("decision", f"{shown.decision.decision}: {shown.decision.reason}"))
    facts(pairs)
    if shown.evaluation:
        say()
        metrics = [
            (inline(info.title), figure(shown.evaluation.metrics[info.name], info.is_share))
            for info in shown.evaluation.shown
        ]
        table([f"metric ({shown.evaluation.split} split)", "value"], metrics, right=["value"])
    say()
    columns, rows = variants_table(model)
    table(columns, rows, right=columns[1:])


@app.command()
def diff(
    name: Name,
    before: Annotated[str, typer.Argument(help=_VERSION)],
    after: Annotated[str, typer.Argument(help=_VERSION)] = "latest",
    as_json: AsJson = False,
) -> None:
    """What differs between two versions."""
    from shipway.pages.numbers import number

    differences = _registry().diff(name, before, after)
    if as_json:
        print_json(differences)
        return
    columns = ["", f"version {differences.before}", f"version {differences.after}"]
    for title, rows in (
        ("metrics", differences.metrics),
        ("parameters", differences.params),
        ("facts", differences.facts),
    ):
        if rows:
            table([title, *columns[1:]], [(key, number(a), number(b)) for key, (a, b) in rows.items()])
            say()
    if differences.metrics and not differences.same_test_rows:
        say("The metrics are of different test rows: they do not compare.", style="yellow")
    for title, labels in (("new labels", differences.new_labels), ("gone labels", differences.gone_labels)):
        if labels:
            say(f"{title}: {', '.join(labels)}")
    for path, change in differences.files.items():
        say(f"{change:8} {path}", style="dim")
    if not (differences.metrics or differences.params or differences.facts or differences.files):
        say("Nothing differs.")


@app.command()
def promote(
    name: Name,
    version: Annotated[str, typer.Argument(help=_VERSION)] = "candidate",
    reason: Reason = "",
    seen: From = None,
    as_json: AsJson = False,
) -> None:
    """Make a version the champion."""
    registry = _registry()
    move = registry.promote(name, version, seen=_seen(registry, name, seen), reason=reason)
    if as_json:
        print_json(move)
        return
    before = f" (before: version {move.previous_version})" if move.previous_version else ""
    say(f"champion of {move.name} is version {move.version}{before}", style="green")
    say(f"The endpoint was not touched. Next: shipway endpoints deploy {name}", style="dim")


@app.command()
def unset(name: Name, as_json: AsJson = False) -> None:
    """Leave a model without a champion: the next one is judged by the policy alone."""
    was_set = _registry().unset_alias(name)
    if as_json:
        print_json({"name": name, "was_set": was_set})
        return
    say(f"{name} has no champion now" if was_set else f"{name} had no champion")
    say(f"The endpoint was not touched. Next: shipway models promote {name} VERSION", style="dim")


@app.command()
def rollback(name: Name, reason: Reason = "", seen: From = None, as_json: AsJson = False) -> None:
    """Make the previous champion the champion again."""
    registry = _registry()
    done = registry.rollback(name, seen=_seen(registry, name, seen), reason=reason)
    if as_json:
        print_json({**vars(done), "message": done.message})
        return
    say(done.message, style="green")
    if done.redeploy:
        say(f"Next: shipway endpoints deploy {name}", style="dim")


def _seen(registry: Registry, name: str, given: str | None) -> Standing:
    """The champion as it is, which is the one that the person saw."""
    from shipway.errors import InvalidSpec, Superseded

    champion = registry.champion(name, to_move=True)
    if given is None:
        return champion
    if given != "none" and not re.fullmatch(r"v?\d{1,18}", given):
        raise InvalidSpec(field="--from", given=given, allowed="the champion's number, or none")
    wanted = None if given == "none" else int(given.removeprefix("v"))
    if champion.version != wanted:
        there = "none" if champion.version is None else f"version {champion.version}"
        raise Superseded(
            f"models: the champion of {name} is {there}, not {given}; look again: shipway models list {name}"
        )
    return champion


def _anything() -> bool:
    from shipway.local.store import has_store

    return has_store()


def _registry() -> Registry:
    from shipway.local.store import open_store
    from shipway.registry import Registry

    return Registry(open_store())
