"""What a step itself printed, out of its pod's log: KFP's launcher and executor and Argo's own speak there too.

Launcher: backend/src/v2/component/launcher_v2.go, by glog (`I1125 12:00:00.123456 1 launcher_v2.go:206] ...`).
Executor: kfp/dsl/executor_main.py, by logging (`[KFP Executor 2026-11-25 12:00:00,123 INFO]: ...`).
Argo: cmd/argoexec, by slog (`time=... level=INFO msg="capturing logs" argo=true`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

_LAUNCHER = re.compile(r"[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\.go:\d+\] ?(?P<said>.*)")
_EXECUTOR = re.compile(
    r"\[KFP Executor [^\]]* INFO\]: (Looking for component|--component_module_path is not|Loading KFP component|"
    r"Got executor_input:|Did not write output file|Wrote executor output file)"
)
_ARGO = re.compile(r'time="?\S+"? level=\S+ msg=.*\bargo=true|\{.*"argo":true.*\}|Error: exit status \d+$')
_OPENS = re.compile(r"(Got executor_input:|ExecutorOutput: \{)$")
_EXIT = re.compile(r"exit status \d+$|signal: \w+$")


def own_words(lines: Iterable[str]) -> Iterator[str]:
    """The lines that are the step's own, and errors of the launcher that are more than the step's exit code."""
    in_document = False
    for line in lines:
        text = line.rstrip("\r\n")
        if in_document:  # JSON over several lines, closed by a brace in the first column
            in_document = text != "}"
            continue
        launcher = _LAUNCHER.match(text)
        if launcher or _EXECUTOR.match(text):
            in_document = bool(_OPENS.search(text))
            is_error = launcher is not None and text[0] in "EF" and not _EXIT.search(launcher["said"])
            if not is_error:
                continue
        elif _ARGO.match(text):
            continue
        yield line
