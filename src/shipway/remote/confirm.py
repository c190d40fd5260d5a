"""What was written is read back: Kubeflow answers 200 to more than it does (UpdatePipeline to anything, for one)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from shipway.errors import KubeflowError, KubeflowUnavailable
from shipway.patience import Patience

IGNORED = ("mode", "namespace")  # the first is told by the status, the second by where we asked


def confirm(what: str, read: Callable[[], Any], holds: Callable[[Any], bool], patience: Patience) -> Any:
    """What `read` gives once `holds` says yes; some answers are a moment older than what was written.

    Raises:
        KubeflowError: it never did.
    """
    tries = patience.tries()
    while not holds(held := read()):
        if not tries.again():
            raise KubeflowError(
                f"{what}: Kubeflow answered that it is done, and when asked again it was not; type the command again, "
                "and look at the log of its ml-pipeline if that is of no use"
            )
    return held


def confirm_created(what: str, sent: Any, answer: Any, read: Callable[[], Any]) -> Any:
    """What Kubeflow holds, which is what was sent.

    Raises:
        KubeflowError: it is something else; names the first field that differs.
    """
    try:
        held = read()
    except KubeflowUnavailable:  # it was made; that the network goes away now is no reason to make it again
        held = answer
    field = "" if held is None else _differs(sent, held)
    if held is None or field:
        how = "and holds nothing" if held is None else f"and holds another {field}"
        raise KubeflowError(f"{what}: Kubeflow answered that it is made, {how}; look at it before you go on")
    return held


def _differs(sent: Any, held: Any) -> str:
    """Path of the first field that was sent and is held otherwise; empty for none."""
    if hasattr(sent, "attribute_map"):
        fields = [name for name in sent.attribute_map if getattr(sent, name) is not None and name not in IGNORED]
        pairs = [(str(name), getattr(sent, name), getattr(held, name, None)) for name in fields]
    elif isinstance(sent, Mapping):
        given: Mapping[str, Any] = held if isinstance(held, Mapping) else {}
        pairs = [(str(name), value, given.get(name)) for name, value in sent.items()]
    elif isinstance(sent, datetime) and isinstance(held, datetime):
        return "" if int(sent.timestamp()) == int(held.timestamp()) else "moment"  # whole seconds are kept
    else:
        return "" if sent == held else "value"
    for name, mine, theirs in pairs:
        if _differs(mine, theirs):
            return name
    return ""
