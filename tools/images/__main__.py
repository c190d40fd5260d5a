"""The command: `python -m tools.images build [NAME ...]`, `lock [--check]`, `push`, `pin`, `archive NAME`, `audit`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from shipway.errors import UserError
from tools.images import archives, audit, builds, locks, pins
from tools.images.engines import engine
from tools.images.settings import NAMES, check_name


def main() -> int:
    """Exit code: 0 done, 1 the builder failed or the audit found something, 2 yours to mend."""
    given = _parser().parse_args()
    try:
        if given.command == "lock":
            return locks.check() if given.check else locks.write()
        if given.command == "audit":
            return audit.audit(given.service)
        if given.command == "archive":
            print(archives.archive(given.name))
            return 0
        if given.command == "pin":
            print(pins.pin(Path(given.overlay), given.registry))
            return 0
        used = engine(given.engine)
        names = [check_name(name) for name in given.names] or list(NAMES)
        if given.command == "build":
            for name in names:
                if name != "tensorflow" or "horovod" not in names:  # horovod builds it
                    builds.build(name, given_base=given.base, variant=given.variant, with_engine=used)
        if given.command == "push" or (used.name != "docker" and given.variant == "cpu"):
            print(f"digests: {builds.push(names, getattr(given, 'registry', None), used)}")
        else:
            print("digests: known once the images are pushed: python -m tools.images push --registry ...")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except subprocess.CalledProcessError as error:
        print(f"error: {' '.join(map(str, error.cmd[:3]))} ... ended with {error.returncode}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.images", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (("build", "build, and write digests and bills of materials"), ("push", "push what is built")):
        one = commands.add_parser(name, help=words)
        one.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(NAMES)}")
        one.add_argument("--engine", help="docker, podman or buildah (default: the first that works)")
    build = commands.choices["build"]
    build.add_argument("--base", help="base image (default: $BASE, images/base.env)")
    build.add_argument("--variant", choices=("cpu", "cuda"), default="cpu", help="of the tensorflow image")
    commands.choices["push"].add_argument("--registry", required=True, help="registry and path, without a scheme")
    pinned = commands.add_parser("pin", help="write the launcher's pushed digest into an overlay of manifests/")
    pinned.add_argument("overlay", help="manifests/overlays/standalone")
    pinned.add_argument("--registry", required=True, help="as given to push")
    lock = commands.add_parser("lock", help="write the images' requirements anew from uv.lock")
    lock.add_argument("--check", action="store_true", help="only say whether they are up to date")
    asked = commands.add_parser("audit", help="known vulnerabilities of what the images hold")
    asked.add_argument("--service", choices=audit.SERVICES, default="pypi", help="whose database pip-audit asks")
    commands.add_parser("archive", help="a docker-archive of the current tree's image").add_argument("name")
    return parser


if __name__ == "__main__":
    sys.exit(main())
