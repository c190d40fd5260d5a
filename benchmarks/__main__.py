"""`python -m benchmarks [names]`: each module's `main()` prints one JSON line; `--save` writes RESULTS.md too."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MET = {True: "yes", False: "no", None: "skipped"}
KEYS = ("name", "ratio", "goal", "meets_goal", "baseline", "details")


def names() -> list[str]:
    """All benchmarks: every module here that does not begin with an underscore."""
    return sorted(path.stem for path in HERE.glob("*.py") if not path.stem.startswith("_"))


def run(name: str) -> dict[str, Any]:
    """One benchmark's line; one that fails says so and the others go on."""
    try:
        line = importlib.import_module(f"benchmarks.{name}").main()
        missing = [key for key in KEYS if key not in line]
        if missing:
            raise ValueError(f"benchmarks/{name}.py: main() gave no {', '.join(missing)}")
        return dict(line)
    except Exception as error:  # noqa: BLE001 - the next benchmark is not to blame
        problem = f"{type(error).__name__}: {error}"
        return {**dict.fromkeys(KEYS), "name": name, "meets_goal": False, "details": {"error": problem}}


def table(lines: list[dict[str, Any]]) -> str:
    """The results as Markdown, with the machine's size."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    when = datetime.now(UTC).date().isoformat()
    text = [
        "# Benchmarks",
        "",
        f"{when}, {os.cpu_count()} cores, {memory} GiB, Python {platform.python_version()}, {platform.system()}. "
        "Each ratio is against a baseline that was measured in the same run. `make bench` prints these lines.",
        "",
        "| name | ratio | goal | met | baseline |",
        "|---|---|---|---|---|",
    ]
    text += [
        f"| {line['name']} | {line['ratio']} | {line['goal']} | {MET[line['meets_goal']]} | {line['baseline']} |"
        for line in lines
    ]
    text += ["", *(f"- `{line['name']}`: `{json.dumps(line['details'], sort_keys=True)}`" for line in lines), ""]
    return "\n".join(text)


def main() -> int:
    """Exit code 0 when all goals are met; one that was skipped has said so."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of {', '.join(names())}; all by default")
    parser.add_argument("--save", action="store_true", help="also write benchmarks/RESULTS.md")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(names()))
    if unknown:
        parser.error(f"unknown benchmark {', '.join(unknown)}; expected some of {', '.join(names())}")
    lines = []
    for name in options.names or names():
        lines.append(run(name))
        print(json.dumps(lines[-1], sort_keys=True), flush=True)
    if options.save:
        (HERE / "RESULTS.md").write_text(table(lines), encoding="utf-8")
    return 0 if all(line["meets_goal"] is not False for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
