"""A function of a file that a YAML file names: what the file is called on its way, and what is refused of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway.errors import UserError
from shipway.functions.travelling import of_file

TRAIN = "import side\n\n\ndef train(x):\n    return side.scale(x)\n"


@pytest.mark.parametrize(
    ("file", "module"),
    [("mine.py", "mine"), ("my-train.py", "own_my_train"), ("two words.py", "own_two_words"),
     ("random.py", "own_random"), ("numpy.py", "own_numpy")],
)  # fmt: skip
def test_a_file_travels_under_a_name_that_a_module_may_have(file: str, module: str, tmp_path: Path) -> None:
    (tmp_path / "side.py").write_text("def scale(x):\n    return 2 * x\n")
    (tmp_path / file).write_text(TRAIN)
    source = of_file(tmp_path / file, "train")
    assert source.reference == f"{module}:train"
    assert sorted(source.files) == sorted([f"{module}.py", "side.py"])
    assert source.declared.metrics == ("score",)


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    (tmp_path / "side.py").write_bytes(b"\xef\xbb\xbfdef scale(x):\r\n    return x\r\n")
    (tmp_path / "mine.py").write_bytes(b"\xef\xbb\xbf" + TRAIN.replace("\n", "\r\n").encode())
    for text in of_file(tmp_path / "mine.py", "train").files.values():
        compile(text, "mine.py", "exec")


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        (
            "def train(x):\n    return x\n",
            "",
            r"mine.py: which function is not said; it has train; give .*mine.py:train",
        ),
        (
            "def train(x):\n    from . import side\n",
            "train",
            r"mine.py:2: the module imports relatively, and is in no pac",
        ),
        ("def fit(x):\n    return x\n", "fot", r"has no function 'fot'; it has fit \(did you mean 'fit'\?\)"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(text: str, name: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(text)
    with pytest.raises(UserError, match=line) as caught:
        of_file(tmp_path / "mine.py", name)
    assert "\n" not in str(caught.value)
