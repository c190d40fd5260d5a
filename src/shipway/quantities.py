"""Kubernetes quantities as numbers."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)([a-zA-Z]*)")
_UNITS = {"m": 1e-3, "": 1.0}
for _power, _prefix in enumerate("KMGTPE", start=1):
    _UNITS |= {_prefix if _power > 1 else "k": 1000.0**_power, f"{_prefix}i": 1024.0**_power}


def amount(quantity: str) -> float:
    """A Kubernetes quantity as a number: `500m` is 0.5.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{quantity!r} is no quantity")
    return float(match[1]) * _UNITS[match[2]]
