"""kfp without its client: half of what `import kfp` takes goes into the Kubernetes client, which no local run needs."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

_CLIENT = "kfp.client"


def import_kfp() -> None:
    """Imports kfp, where nobody has; a pipeline that uses `kfp.Client` gets it when it asks."""
    if "kfp" in sys.modules:
        return
    stub: Any = ModuleType(_CLIENT)
    stub.Client = None
    sys.modules[_CLIENT] = stub
    cluster: Any = None
    if "kubernetes" not in sys.modules:  # `kfp.kubernetes` imports it for the one function that imports it again
        cluster = sys.modules["kubernetes"] = ModuleType("kubernetes")
        cluster.client = None
    try:
        kfp: Any = import_module("kfp")
        import_module("kfp.kubernetes")
    except ImportError:  # a version that wants more of them is imported as ever, by whoever needs it
        for name in [name for name in sys.modules if name.partition(".")[0] == "kfp"]:
            sys.modules.pop(name)
        return
    finally:
        sys.modules.pop(_CLIENT, None)
        if cluster is not None:
            del sys.modules["kubernetes"]
    if vars(kfp).get("Client", stub) is None:
        del kfp.Client
        kfp.__getattr__ = _late


def _late(name: str) -> Any:
    if name != "Client":
        raise AttributeError(f"module 'kfp' has no attribute {name!r}")
    return import_module(_CLIENT).Client
