"""Objects that a person named, `package.module:name`: loaded, or refused in one line that says what they raised."""

from __future__ import annotations

import re
import traceback
from pathlib import Path
from typing import Any

from shipway import modules
from shipway.errors import InvalidSpec, nearest

_OURS = re.escape(str(Path(__file__).parent))
_NOT_OWN = re.compile(rf"^{_OURS}/|/(site|dist)-packages/|/lib/python3\.\d+/|^<frozen ")


def load_object(reference: str, field: str) -> Any:
    """The object `package.module:name`.

    Args:
        reference: From the run's code, a person's own folders, or what is installed.
        field: Where it was named, for messages.

    Raises:
        InvalidSpec: there is no such module or name, or the module raises while it is imported.
    """
    module, _, name = reference.partition(":")
    try:
        loaded = modules.load(module)
    except (Exception, SystemExit) as error:
        is_absent = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        kind = "" if is_absent else f"{type(error).__name__}: "
        where = "; is its package on PYTHONPATH, or given as code=?" if is_absent else raised_at(error)
        raise InvalidSpec(
            f"{reference!r} cannot be loaded: {kind}{error}{where}", field=field, given=reference
        ) from error
    if not hasattr(loaded, name):
        raise InvalidSpec(
            f"{reference!r} cannot be loaded: module {module!r} has no {name!r}{nearest(name, vars(loaded))}",
            field=field,
            given=reference,
        )
    return getattr(loaded, name)


def raised_at(error: BaseException) -> str:
    """The last line of a person's own that an error came through, ` (own_train.py:7: total / 0)`; empty without one."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [each for each in frames if not _NOT_OWN.search(each.filename)]
    if not own:
        return ""
    text = f": {own[-1].line:.60}" if own[-1].line else ""
    return f" ({Path(own[-1].filename).name}:{own[-1].lineno}{text})"
