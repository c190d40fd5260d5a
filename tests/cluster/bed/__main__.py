"""`python -m tests.cluster.bed up|down|status|prepare|mpi|load`."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from pathlib import Path

from tests.cluster.bed import bed, build, prerequisites, settings
from tests.cluster.bed.errors import BedError
from tests.cluster.bed.teardown import down


def main() -> int:
    """Exit code 0 when done, 1 when not, 3 when `status` finds no bed."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.bed", description=bed.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="install what Debian has, build what is not built, start the bed or adopt it")
    ending = commands.add_parser("down", help="end it and leave nothing")
    ending.add_argument("--purge", action="store_true", help="unpacked images too")
    ending.add_argument("--force", action="store_true", help="even while a test session uses it")
    commands.add_parser("status", help="what runs, as JSON")
    commands.add_parser("prepare", help="programs and images only; names what is missing and then builds nothing")
    commands.add_parser("mpi", help="which MPIJob it serves").add_argument("version", choices=("v1", "v2beta1"))
    commands.add_parser("load", help="an image archive into the node").add_argument("archive", type=Path)
    arguments = parser.parse_args()
    try:
        return _run(arguments)
    except BedError as error:
        print(error, file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace) -> int:
    began = time.monotonic()
    if arguments.command == "up":
        prerequisites.install_packages()
        bed.up()
        print(f"up after {time.monotonic() - began:.0f} s\nexport KUBECONFIG={settings.kubeconfig()}")
        print(f"export PATH={build.places().binaries}:$PATH")
    elif arguments.command == "down":
        with contextlib.nullcontext() if arguments.force else bed.unused(), bed.locked():
            down(purge=arguments.purge)
        print(f"down after {time.monotonic() - began:.0f} s")
    elif arguments.command == "prepare":
        prerequisites.install_packages()
        missing = prerequisites.missing(build=not build.places().complete, folder=settings.cache())
        print("\n".join(["cluster test bed: missing", *missing]) if missing else f"built in {build.build().binaries}")
    else:
        return _on_running(arguments)
    return 0


def _on_running(arguments: argparse.Namespace) -> int:
    found = bed.find()
    if found is None:
        print("no bed runs; `make cluster` starts one", file=sys.stderr)
        return 3
    if arguments.command == "mpi":
        found.use_mpi(arguments.version)
    elif arguments.command == "load":
        found.load(arguments.archive)
    else:
        print(json.dumps(found.describe(), indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
