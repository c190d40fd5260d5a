"""A step's process: kfp's own executor, which finds its input in a file of this process instead of the command line.

`/proc/<pid>/cmdline` is everybody's to read. Secrets among the arguments come as their redacted text, so that kfp's log
of its input shows none; the component's function gets what they stand for. As a module of ours it also finds kfp, and
all that kfp imports, before a namesake in a person's folders (`shipway.modules`).
"""

from __future__ import annotations

import os
import sys
from typing import Any

from shipway import redaction, references

INPUT = "SHIPWAY_EXECUTOR_INPUT"  # number of the descriptor that holds it
_FLAG = "--executor_input"


def main() -> None:
    """Runs the component's function."""
    from kfp.dsl import executor_main
    from kfp.dsl.executor import Executor

    class Revealing(Executor):  # type: ignore[misc]  # kfp has no types
        """kfp's, with what the arguments stand for."""

        def __init__(self, executor_input: dict[str, Any], **more: Any) -> None:
            super().__init__(executor_input=references.reveal_all(executor_input), **more)

    descriptor = int(os.environ.pop(INPUT))
    os.set_inheritable(descriptor, False)
    with open(descriptor, encoding="utf-8", closefd=False) as file:
        sys.argv[sys.argv.index(_FLAG) + 1] = file.read()
    redaction.guard_streams()
    executor_main.component_executor.Executor = Revealing
    executor_main.executor_main()
    os.ftruncate(descriptor, 0)  # an exit with 0 that came before this is no success


if __name__ == "__main__":
    main()
