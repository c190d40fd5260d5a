"""`store start|stop|status|ls|cp|gc`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from shipway.cli.console import AsJson, facts, print_json, say, table
from shipway.store_rights import Role

app = typer.Typer(help="The object store.", no_args_is_help=True, rich_markup_mode=None)


@app.command()
def start(as_json: AsJson = False) -> None:
    """Start the embedded store, or adopt the one that runs."""
    from shipway.local.store import prepare_store

    prepare_store()
    _report(as_json)


@app.command()
def status(as_json: AsJson = False) -> None:
    """Whether the embedded store runs, and where."""
    _report(as_json)


@app.command()
def stop(as_json: AsJson = False) -> None:
    """Stop the embedded store; what it holds stays."""
    from shipway.context import Context
    from shipway.storage import embedded

    stopped = embedded.stop(Context.current().home)
    if as_json:
        print_json({"stopped": bool(stopped)})
    else:
        say("Stopped the object store." if stopped else "No object store was running.")


def _report(as_json: bool) -> None:
    from shipway.cli.machine import store_status

    status = store_status()
    if as_json:
        print_json(status)
        return
    facts([(key.replace("_", " "), value) for key, value in status.items() if value is not None])


@app.command()
def ls(
    prefix: Annotated[str, typer.Argument(help="A folder of keys, or a whole s3:// or file:// URI.")] = "",
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="All keys, not only one level.")] = False,
    as_json: AsJson = False,
) -> None:
    """What lies in the store."""
    from shipway.local.store import open_store
    from shipway.pages.numbers import bytes_text
    from shipway.storage import open_uri

    store = open_store()
    if "://" in prefix:
        store, prefix = open_uri(prefix)
    prefix = f"{prefix.rstrip('/')}/" if prefix else ""
    level = prefix.count("/")
    folders: dict[str, tuple[int, int]] = {}
    objects = []
    for info in store.list(prefix):
        if recursive or info.key.count("/") <= level:
            objects.append(info)
            continue
        name = "/".join(info.key.split("/")[: level + 1]) + "/"
        count, size = folders.get(name, (0, 0))
        folders[name] = (count + 1, size + info.size_bytes)
    if as_json:
        print_json(
            [{"key": key, "objects": count, "size_bytes": size} for key, (count, size) in folders.items()]
            + [{"key": o.key, "size_bytes": o.size_bytes, "modified": o.modified} for o in objects]
        )
        return
    rows = [(key, f"{count} objects", bytes_text(size), "") for key, (count, size) in folders.items()]
    rows += [(o.key, "", bytes_text(o.size_bytes), _moment(o.modified)) for o in objects]
    table(["key", "", "size", "modified (UTC)"], rows, right=["size"])


def _moment(seconds: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


@app.command()
def cp(
    source: Annotated[
        str, typer.Argument(help="Local path, key, or URI; a folder or a prefix ending in / copies all.")
    ],
    target: Annotated[str, typer.Argument(help="Likewise; one side is local: begin it with ./ or /.")],
    as_json: AsJson = False,
) -> None:
    """Copy between this machine and the store."""
    from shipway.errors import InvalidSpec
    from shipway.local.store import open_store
    from shipway.pages.numbers import bytes_text
    from shipway.storage import open_uri

    base = open_store()
    if _is_local(source) == _is_local(target):
        raise InvalidSpec(
            f"{source!r} to {target!r}: one side must be local (./ or /...), the other in the store", field="store cp"
        )
    remote = target if _is_local(source) else source
    store, key = open_uri(remote) if "://" in remote else (base, remote)
    if _is_local(source):
        count, size = _upload(store, Path(source), key)
    else:
        count, size = _download(store, key, Path(target))
    if as_json:
        print_json({"objects": count, "size_bytes": size})
    else:
        say(f"Copied {count} objects, {bytes_text(size)}.")


def _is_local(path: str) -> bool:
    return "://" not in path and (path.startswith((".", "/", "~")) or Path(path).exists())


def _upload(store: object, path: Path, key: str) -> tuple[int, int]:
    from shipway.errors import NotFound
    from shipway.storage import Store

    assert isinstance(store, Store)
    path = path.expanduser()
    if path.is_dir():
        files = store.upload_folder(path, key.rstrip("/"))
        if not files:
            raise NotFound(f"no file in {str(path)!r}; nothing was copied", field="store cp", given=str(path))
        return len(files), sum(file.size_bytes for file in files)
    if not path.is_file():
        raise NotFound(f"no file {str(path)!r}", field="store cp", given=str(path))
    file = store.upload(path, f"{key}{path.name}" if key.endswith("/") or not key else key)
    return 1, file.size_bytes


def _download(store: object, key: str, path: Path) -> tuple[int, int]:
    from shipway.errors import NotFound
    from shipway.storage import Store

    assert isinstance(store, Store)
    path = path.expanduser()
    one = store.head(key) if key and not key.endswith("/") else None
    if one is not None:
        store.download(key, path / key.rsplit("/", 1)[-1] if path.is_dir() else path)
        return 1, one.size_bytes
    folder = f"{key.rstrip('/')}/" if key else ""
    objects = list(store.list(folder))
    if not objects:
        raise NotFound(f"nothing at {key!r}; `shipway store ls` shows what there is", field="store cp", given=key)
    store.download_many([(info.key, path / info.key.removeprefix(folder), None) for info in objects])
    return len(objects), sum(info.size_bytes for info in objects)


@app.command()
def gc(
    keep: Annotated[int, typer.Option(help="Newest versions of each model that stay in any case.")] = 3,
    name: Annotated[str | None, typer.Option(help="Only versions of this model.")] = None,
    older_than: Annotated[float, typer.Option(help="Hours; nothing younger is removed.")] = 168.0,
    yes: Annotated[bool, typer.Option("--yes", help="Remove; without it, only list what would be removed.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what no alias, endpoint or kept version uses."""
    from shipway.local.store import open_store
    from shipway.pages.numbers import bytes_text
    from shipway.registry import Registry

    done = Registry(open_store()).gc(name, keep=keep, dry_run=not yes, grace_s=older_than * 3600)
    if as_json:
        print_json(done)
        return
    rows = [(item.prefix, item.objects, bytes_text(item.size_bytes), item.why) for item in done.removed]
    table(["would go" if done.dry_run else "removed", "objects", "size", "why"], rows, right=["objects", "size"])
    for version, why in done.kept.items():
        say(f"kept {version}: {why}", style="dim")
    say(f"{bytes_text(done.size_bytes)} {'would be freed; --yes removes it' if done.dry_run else 'freed'}.")


@app.command()
def policy(
    role: Annotated[Role, typer.Argument()],
    store: Annotated[str | None, typer.Option(help="s3://BUCKET/PREFIX; default: SHIPWAY_STORE")] = None,
    seaweed: Annotated[bool, typer.Option("--seaweed", help="As a SeaweedFS shell command, not an IAM policy")] = False,
) -> None:
    """The rights that keys for replicas or predictors need, for whoever makes such keys (docs/manifests.md)."""
    from shipway import store_rights
    from shipway.context import Context

    uri = store or Context.current().store_uri
    if seaweed:
        actions = ",".join(store_rights.seaweed_actions(uri, role))
        name = f"shipway-{role}"
        print(f"s3.configure -user {name} -access_key KEY -secret_key SECRET -actions {actions} -apply")
    else:
        print(json.dumps(store_rights.policy(uri, role), indent=2))
