"""A user's recipe where Polars, scipy and scikit-learn are not installed, as in the predictor's image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HIDE = """
import sys
HIDDEN = ("polars", "scipy", "sklearn")
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hidden())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *more: None if name in HIDDEN else found(name, *more)
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HIDE + code], capture_output=True, text=True, cwd=ROOT)


def test_a_recipe_that_imports_polars_loads_its_encoder_and_encodes() -> None:
    done = run("""
from shipway.recipes import load_recipe
recipe = load_recipe("tests.fixtures.own_recipe:recipe")
encoder = recipe.load_encoder({"labels": ["a"], "letters": 32})
print(encoder.encode(["abc"])["letters"].sum())
""")
    assert (done.returncode, done.stdout.strip()) == (0, "3.0"), done.stderr


def test_annotations_and_checks_of_polars_types_do_no_harm() -> None:
    done = run("""
from shipway.recipes.absent import allow_mention
allow_mention()
import polars as pl
from collections.abc import Iterable
from typing import Optional
def fit(rows: Iterable[pl.DataFrame], one: pl.Series | None, two: Optional[pl.Expr], three: pl.Utf8.nested) -> None: ...
print(isinstance("text", pl.Series))
""")
    assert (done.returncode, done.stdout.strip()) == (0, "False"), done.stderr


def test_using_polars_says_what_to_do_instead() -> None:
    done = run("""
from shipway.recipes.absent import allow_mention
allow_mention()
import polars as pl
from shipway.recipes.absent import has_polars
print(has_polars())
pl.col("text")
""")
    assert (done.returncode, done.stdout.strip()) == (1, "False")
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(
        "ImportError: polars.col: polars is not in this image; load_encoder, encode and a task's answers do"
    )


def test_libraries_of_training_and_their_modules_may_be_imported_inherited_and_annotated() -> None:
    done = run("""
from shipway.recipes.absent import allow_mention
allow_mention()
import scipy
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
class Lengths(BaseEstimator, TransformerMixin):
    def fit(self, rows: csr_array) -> "Lengths": ...
print(isinstance("text", LogisticRegression))
LogisticRegression(C=2)
""")
    assert done.stdout.strip() == "False", done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: sklearn.linear_model.LogisticRegression: sklearn is not in this image; ")
