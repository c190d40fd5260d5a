"""What goes wrong with a bed."""

from __future__ import annotations


class BedError(Exception):
    """The bed does not come up, or does not do what it was asked; names the log to read."""


class MissingPrerequisite(BedError):
    """Something that the machine must bring is not there; the only reason for which cluster tests skip."""
