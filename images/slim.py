"""Takes out of an environment what nothing reads at run time, and compiles the rest: slim.py ENVIRONMENT [--at FINAL].

Bytecode is compiled here because the images run with a read-only root. It is bound to no time stamp (PEP 552,
unchecked hash): a layer's files all get one modification time, and Python would else compile everything at each start.
"""

from __future__ import annotations

import argparse
import compileall
import shutil
import subprocess
from pathlib import Path
from py_compile import PycInvalidationMode

# In site-packages: what only compilers and test suites read, a copy for C programs of a library that onnxruntime's own
# module holds already (30 MB), and one for other interpreters of what zstandard's C module holds. numpy.f2py stays
# although there is no compiler: `from numpy import *`, as scipy has it, imports it.
UNUSED = (
    "Crypto/SelfTest",
    "numpy/_core/tests/data",
    "numpy/distutils",
    "onnx/backend/test/data",
    "onnxruntime/capi/libonnxruntime.so.*",
    "tensorflow/include",
    "tensorflow/xla_aot_runtime_src",
    "zstandard/_cffi.*",
)
HEADERS = (".a", ".h", ".hpp", ".pxd", ".pyi")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", type=Path)
    parser.add_argument("--at", type=Path, help="where the environment will lie in the image (default: where it is)")
    given = parser.parse_args()
    (packages,) = given.environment.glob("lib/python3*/site-packages")
    before = _size(given.environment)
    for path in [path for name in UNUSED for path in packages.glob(name)]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in sorted(packages.rglob("*")):
        if (
            path.is_file()
            and not path.is_symlink()
            and (path.suffix in HEADERS or _is_test(path.relative_to(packages)))
        ):
            path.unlink()
    _strip(packages)
    root = str(given.environment).removesuffix(str(given.at)) if given.at else None
    compileall.compile_dir(
        packages,
        quiet=2,
        force=True,  # whatever pip compiled before is bound to a time stamp
        invalidation_mode=PycInvalidationMode.UNCHECKED_HASH,
        stripdir=root or None,
        workers=0,
    )
    after = _size(given.environment)
    print(f"{given.environment}: {before / 1e6:.0f} MB as installed, {after / 1e6:.0f} MB slimmed and with bytecode")


def _is_test(path: Path) -> bool:
    """A test module. What else lies in a `tests` folder stays: numpy.testing imports from one."""
    return (
        path.name.startswith("test_") and path.suffix in (".py", ".pyi") and bool({"test", "tests"} & set(path.parts))
    )


def _strip(packages: Path) -> None:
    """Symbols that only a debugger reads, 0.2 GB of TensorFlow's alone.

    The libraries in `*.libs` stay as they are: auditwheel moved their tables, and strip can damage what was moved.
    """
    for library in sorted(packages.rglob("*.so*")):
        if library.is_file() and not library.is_symlink() and not library.parent.name.endswith(".libs"):
            # What strip cannot read it leaves alone.
            subprocess.run(["strip", "--strip-unneeded", library], check=False, stderr=subprocess.DEVNULL)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    main()
