"""A person's own code in a pipeline's plan: looked up and in use before a recipe is loaded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from shipway import modules
from shipway.code import check_code, pin, use
from shipway.planning.resolving import merge


def with_code(document: Mapping[str, Any], sections: Collection[str], named: Iterable[str]) -> Mapping[str, Any]:
    """A plan's document with the code of its first section in all of them, as `ADDRESS#sha256=HASH`.

    From here on the code is in use in this process, and holds what is named.

    Args:
        document: Section -> fields.
        sections: Those whose steps load a recipe; their specs have a field `code`.
        named: What the sections load: recipes and functions, shipped ones too.

    Raises:
        NotFound: nothing lies where the code is said to be.
        InvalidSpec: it is no code, does not fit, or nothing of it is named.
    """
    given = next((str(code) for section in sections if (code := document.get(section, {}).get("code"))), "")
    if not given:
        modules.use_code("")  # a notebook's run before may have had some
        return document
    pinned = pin(given)
    use(pinned)
    check_code(pinned, [name for name in named if ":" in name])
    return merge(document, {section: {"code": pinned} for section in sections})
