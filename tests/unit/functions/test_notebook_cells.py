"""What cells of a notebook define travels, whatever magic stands above it, in a real IPython."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CELLS = [
    "import logging, re, sys\nfrom dataclasses import dataclass\nsys.path.insert(2, '')\nfrom own_beside import scaled",
    "%%bash\necho 'no python ('",
    '%%time\nWORD = re.compile(r"[a-z]+")\ntwice = lambda v: 2 * v\n\n'
    "@dataclass\nclass Config:\n    rate: float = 0.5\n\n"
    "@dataclass\nclass Empty:\n    pass\n\ndef tripled(v):\n    return 3 * v\n\nconfig = Config(2.0)\n",
    "def train(rate):\n    assert repr(Empty())\n"
    "    return scaled(twice(rate)) + config.rate + tripled(len(WORD.findall('a b')))",
    "from shipway.functions.source import extract\nfirst = extract(train)",
    "from shipway import modules\nmodules.use_code('/a/run/of/before')",
    "assert '' in sys.path\nassert extract(train) == first",
    "def shouts(x):\n    !echo {x}\n    return x\n",
    "try:\n    extract(shouts)\nexcept Exception as error:\n    refused = str(error)",
    "import json\nprint('FOUND' + json.dumps([first.files, refused, train(1.0)]))",
]
DRIVER = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
for cell in json.load(sys.stdin):
    shell.run_cell(cell, store_history=True).raise_error()
"""


def test_what_cells_define_travels_and_a_run_of_before_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "own_beside.py").write_text("def scaled(x):\n    return 10 * x\n")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")}
    done = subprocess.run(
        [sys.executable, "-c", DRIVER], input=json.dumps(CELLS), cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "FOUND" in done.stdout, done.stdout + done.stderr
    files, refused, result = json.loads(done.stdout.rpartition("FOUND")[2])
    assert sorted(files) == ["own_beside.py", "own_train.py"]
    assert refused == "In [8]:2: shouts uses a ! or % of the notebook, which only a notebook has; write it in Python"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path, text in files.items():
        (elsewhere / path).write_text(text)
    code = f"import sys; sys.path.insert(0, {str(elsewhere)!r}); import own_train; print(own_train.train(1.0))"
    alone = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert alone.stdout == f"{result}\n", alone.stderr
