"""Intent sets for the `recipe` benchmark, cut from what the locked environment holds: no download, nothing committed.

Languages of `home-assistant-intents` (the real intents of a voice assistant, split by sentence template), and first
sentences of docstrings, labelled by the package or module that they stand in: text by thousands of hands, as many
classes and rows as the public intent sets have.
"""

from __future__ import annotations

import ast
import csv
import random
import re
import sysconfig
from collections import Counter, defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "de", "fr", "es", "nl")
LANGUAGE_ROWS = 100  # an intent
DOCSTRINGS = {"docstrings-77": (77, 130), "docstrings-150": (150, 100)}  # classes, rows a class
NAMES = (*LANGUAGES, *DOCSTRINGS)

DEPTH = 3  # of modules that are told apart
LENGTHS = range(15, 201)  # characters of a sentence
MIN_WORDS = 4
# Generated clients, whose docstrings repeat each other, and copies of other packages.
LEFT_OUT = {"debugpy", "distutils", "google", "kfp_server_api", "kubeflow", "kubernetes", "pip", "setuptools"}
LEFT_OUT |= {"shipway", "tensorflow", "test", "tests", "_vendor", "idlelib", "lib2to3", "site-packages"}


def write_set(path: Path, name: str) -> dict[str, str]:
    """Writes one set as CSV; the same environment gives the same bytes.

    Returns:
        The pipeline's parameters that name its columns.

    Raises:
        ValueError: the environment has too few docstrings.
    """
    if name in LANGUAGES:
        from shipway.demos.intents import write_intents_csv

        write_intents_csv(path, name, rows_per_intent=LANGUAGE_ROWS)
        return {"group_column": "group"}
    classes, rows = DOCSTRINGS[name]
    sentences_of = _classes(rows)
    if len(sentences_of) < classes:
        raise ValueError(
            f"{name}: the environment has {len(sentences_of)} modules with {rows} docstrings, not {classes}"
        )
    draw = random.Random(name)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label"])
        for label in sorted(draw.sample(sorted(sentences_of), classes)):
            writer.writerows((sentence, label) for sentence in draw.sample(sorted(sentences_of[label]), rows))
    return {}


def _classes(rows: int) -> dict[str, set[str]]:
    """Label -> sentences that only it has; at least `rows` each. A module that has enough is a label of its own."""
    labels: dict[str, set[str]] = {}

    def divide(name: tuple[str, ...], modules: dict[tuple[str, ...], set[str]]) -> None:
        children: dict[str, dict[tuple[str, ...], set[str]]] = defaultdict(dict)
        rest: set[str] = set()
        for module, sentences in modules.items():
            if len(module) > len(name) and len(name) < DEPTH:
                children[module[len(name)]][module] = sentences
            else:
                rest |= sentences
        for child, inside in children.items():
            together = set().union(*inside.values())
            if len(together) >= rows:
                divide((*name, child), inside)
            else:
                rest |= together
        labels[".".join(name)] = rest

    divide((), sentences())
    owners = Counter(sentence.lower() for sentences in labels.values() for sentence in sentences)
    own = {label: {s for s in sentences if owners[s.lower()] == 1} for label, sentences in labels.items() if label}
    return {label: sentences for label, sentences in own.items() if len(sentences) >= rows}


@cache
def sentences() -> dict[tuple[str, ...], set[str]]:
    """First sentences of all docstrings by module; files are parsed, nothing is imported."""
    sentences_of: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for root in (sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")):
        for path in sorted(Path(root).rglob("*.py")):
            module = path.relative_to(root).with_suffix("").parts
            if not LEFT_OUT.isdisjoint(module):
                continue
            for sentence in _first_sentences(path):
                if len(sentence) in LENGTHS and len(sentence.split()) >= MIN_WORDS:
                    sentences_of[module].add(sentence)
    return dict(sentences_of)


def _first_sentences(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # templates and test data that only look like Python
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            paragraph = " ".join((ast.get_docstring(node) or "").strip().split("\n\n")[0].split())
            ended = re.match(r".+?[.!?](?=\s|$)", paragraph)
            yield ended.group() if ended else paragraph
