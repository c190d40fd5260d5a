"""What the pods of `doctor --cluster` do, sent along as text: any image with Python runs it, ours does all of it."""

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator

PATIENCE_S = 45
UNTRIED = "answers over HTTP; this image has no shipway to try the keys with"


def main() -> None:
    """Prints one line of JSON: `how` it went well, or the `error`, its `kind` and what was being done."""
    said: list[dict[str, str]] = []
    doing = ["import"]
    work = threading.Thread(target=lambda: said.append(_tried(doing)), daemon=True)
    work.start()
    work.join(PATIENCE_S)  # a network policy drops packets, and nobody hears of it
    late = {"doing": doing[-1], "kind": "TimeoutError", "error": f"no answer within {PATIENCE_S} s"}
    print("doctor " + json.dumps(said[0] if said else late), flush=True)
    os._exit(0)


def _tried(doing: list[str]) -> dict[str, str]:
    try:
        for deed, act in _deeds():
            doing.append(deed)
            act()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what a step would meet
        if isinstance(error, ModuleNotFoundError) and str(error.name).startswith("shipway"):
            return _only_asked()
        return {"doing": doing[-1], "kind": type(error).__name__, "error": " ".join(str(error).split())}
    return {"how": "written, read, listed and deleted"}


def _deeds() -> Iterator[tuple[str, Callable[[], object]]]:
    """A step's first acts, in their order, each with its name."""
    yield "import", lambda: __import__("shipway.storage")
    from shipway.storage import Store

    if "KFP_POD_NAME" in os.environ:
        from shipway.executors.kubernetes.own_pod import own_pod

        yield "read its own pod", own_pod
    key, opened = f"jobs/doctor/{os.environ['HOSTNAME']}", []  # where a replica's own keys may write too
    yield "open", lambda: opened.append(Store.open())
    store = opened[0]
    yield "write", lambda: store.put(key, b"x")
    yield "read", lambda: store.get(key)
    yield "list", lambda: list(store.list("jobs/doctor"))
    yield "delete", lambda: store.delete(key)


def _only_asked() -> dict[str, str]:
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(os.environ["AWS_ENDPOINT_URL"], timeout=10)
    except urllib.error.HTTPError:
        pass
    except Exception as error:  # noqa: BLE001 - likewise
        return {"doing": "ask", "kind": type(error).__name__, "error": str(error)}
    return {"untried": UNTRIED}


if __name__ == "__main__":
    main()
