"""Where Python looks for modules: what is installed, then a person's own folders, the working directory never.

A `queue.py` or `json/` beside a person's data is no module of ours: Python would put the working directory (`python
-m`) and PYTHONPATH before the standard library. Imports `os` and `sys` alone, which are loaded at any start.
"""

import os
import sys

OWN = "SHIPWAY_MODULES"  # a person's own folders, absolute, for the processes that we start
GIVEN = "SHIPWAY_PYTHONPATH"  # PYTHONPATH as it was, absolute, for what stands for a container
CODE = "SHIPWAY_CODE_FOLDER"  # of the run's code, for processes that share a step's work
SAFE = "PYTHONSAFEPATH"  # no working directory on the path, in grandchildren either

_code = ""  # folder of the code that a run brought to this process


def settle() -> None:
    """Orders this process's path; of a process that is somebody else's, only appends what it was told to."""
    if not sys.flags.ignore_environment and _is_ours():
        _move_python_path()
    for folder in os.environ.get(OWN, "").split(os.pathsep):
        if folder and folder not in sys.path:
            sys.path.append(folder)
    if os.environ.get(CODE):
        use_code(os.environ[CODE])


def own_folders() -> list[str]:
    """Folders of this process's path that hold a person's modules: a script's, a notebook's, those of PYTHONPATH.

    Not that of a run's code: each process that needs it installs it, as it would in a pod.
    """
    paths = dict.fromkeys(map(os.path.abspath, sys.path))
    return [folder for folder in paths if folder != _code and not _is_installed(folder)]


def use_code(folder: str) -> None:
    """Puts the folder of a run's code on the path, last, in place of that of an earlier run.

    Modules of the code before are forgotten: a notebook's second run must not be judged by the code of its first.
    """
    global _code
    if folder == _code:
        return
    before, _code = _code, folder
    # Without code before, `before` is empty, and so is a notebook's own entry for the folder that it stands in.
    sys.path[:] = [path for path in sys.path if not before or path != before] + [folder] * bool(folder)
    for name, module in list(sys.modules.items()):
        origin = getattr(module, "__file__", None) or ""
        if before and origin.startswith(before + os.sep):
            del sys.modules[name]


def for_child(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """An environment whose Python finds what is installed before a person's folders, and no working directory."""
    kept = {key: value for key, value in environment.items() if key not in (CODE, "PYTHONPATH")}
    here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    if here in map(os.path.abspath, environment.get("PYTHONPATH", "").split(os.pathsep)):
        kept["PYTHONPATH"] = here  # Shipway itself is not installed: a checkout
    if environment.get("PYTHONPATH") and GIVEN not in environment:
        kept[GIVEN] = _absolute(environment["PYTHONPATH"])
    return kept | {SAFE: "1", OWN: os.pathsep.join(own_folders())}


def for_helper(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """As `for_child`, for a process that shares this one's work: it finds the run's code too."""
    return for_child(environment) | ({CODE: _code} if _code else {})


def for_container(environment: "os._Environ[str] | dict[str, str]") -> dict[str, str]:
    """An environment for a replica or a predictor, which works in a folder of its own: PYTHONPATH as a person gave it.

    A command of theirs finds its modules as it would in its image; a process of ours orders its own path.
    """
    kept = {key: value for key, value in environment.items() if key not in (SAFE, GIVEN, CODE, "PYTHONPATH")}
    given = environment.get(GIVEN) or _absolute(environment.get("PYTHONPATH", ""))
    return kept | {OWN: os.pathsep.join(own_folders())} | ({"PYTHONPATH": given} if given else {})


def code_in_use() -> str:
    """Folder of the code that a run brought to this process; empty: none."""
    return _code


def load(name: str) -> object:
    """The module that a person named: from the run's code, then their own folders, then what is installed.

    Raises:
        ImportError: there is none, or it does not import.
    """
    from importlib import import_module
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    top = name.partition(".")[0]
    if _code and top in sys.modules and PathFinder.find_spec(top, [_code]) is not None:
        _forget_namesake(top)
    if top not in sys.modules and top not in sys.stdlib_module_names:
        spec = PathFinder.find_spec(top, [*([_code] if _code else []), *own_folders()])
        if spec is not None and spec.loader is not None and spec.origin is not None:
            sys.modules[top] = module = module_from_spec(spec)
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[top]
                raise
    return import_module(name)


def _forget_namesake(top: str) -> None:
    """A module of that name that came from elsewhere is no longer the one that is meant."""
    origin = getattr(sys.modules[top], "__file__", None) or ""
    if top not in sys.stdlib_module_names and not origin.startswith(_code + os.sep):
        for name in [name for name in sys.modules if name == top or name.startswith(f"{top}.")]:
            del sys.modules[name]


def _absolute(path: str) -> str:
    return os.pathsep.join(os.path.abspath(folder) for folder in path.split(os.pathsep) if folder)


def _move_python_path() -> None:
    """PYTHONPATH's folders go behind what is installed; an empty entry stands for the working directory."""
    given = os.environ.get("PYTHONPATH", "")
    own = [os.path.abspath(folder) for folder in given.split(os.pathsep)] if given else []
    own = [folder for folder in dict.fromkeys(own) if not _is_installed(folder) and folder in sys.path]
    sys.path[:] = [folder for folder in sys.path if folder not in own] + own


def _is_installed(folder: str) -> bool:
    library = os.path.dirname(os.__file__)
    parts = folder.split(os.sep)
    return (
        "site-packages" in parts
        or "dist-packages" in parts
        or folder.endswith(".zip")
        or folder == os.path.dirname(sys.executable)  # of the `shipway` script
        or folder == library
        or folder.startswith(library + os.sep)
    )


def _is_ours() -> bool:
    """Whether this is `shipway` or `python -m shipway...`; of the latter the working directory leaves the path here."""
    words = list(sys.orig_argv[1:])
    while words and words[0].startswith("-") and words[0] != "-":
        word = words.pop(0)
        if word.startswith("--") or word in ("-W", "-X"):
            words = words[word in ("-W", "-X", "--check-hash-based-pycs") :]
        elif word.endswith("m"):
            is_ours = bool(words) and words[0].partition(".")[0] == "shipway"
            if is_ours and not sys.flags.safe_path and sys.argv[:1] == ["-m"]:
                del sys.path[0]
            return is_ours
        elif word.endswith("c"):
            return False
    return bool(words) and os.path.basename(words[0]) == "shipway"
