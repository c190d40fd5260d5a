"""What a classifier has to beat, whatever its input is."""

from __future__ import annotations

import polars as pl
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from shipway.inputs import load_input
from shipway.tasks import load_task
from tests.fixtures import houses, toy

FIT = load_task("classification").evaluation.fit_baseline


def test_a_linear_svm_over_texts_is_that_of_tf_idf_n_grams() -> None:
    train, test = toy.rows(120), toy.rows(60, 1)
    words = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"(?u)\w+", sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True)
    expected = make_pipeline(make_union(words, characters), LinearSVC(C=1.0, random_state=3))
    expected.fit(train["text"].to_list(), train["label"].to_list())
    fitted = FIT("linear_svm", load_input("text"), train, 3)
    assert fitted is not None
    answers = fitted.predict([test[:7], test[7:]])["predicted"].to_list()
    assert answers == expected.predict(test["text"].to_list()).tolist()


def test_a_linear_svm_stands_beside_a_tables_classes_and_not_beside_one_class() -> None:
    rows = houses.rows(80).with_columns(
        label=pl.when(pl.col("number.size").cast(pl.Float64) > 100).then(pl.lit("large")).otherwise(pl.lit("small"))
    )
    table = load_input("table")
    fitted = FIT("linear_svm", table, rows[:60], 0)
    assert fitted is not None
    assert (fitted.predict([rows[60:]])["predicted"] == rows["label"][60:]).mean() > 0.8
    assert FIT("linear_svm", table, rows.with_columns(label=pl.lit("large")), 0) is None
