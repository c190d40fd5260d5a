"""DatasetSpec: one document from the UI, YAML or Python; a wrong one is one clear line."""

from __future__ import annotations

import json

import pytest

from shipway.canonical import fingerprint
from shipway.components.prep.schema import check
from shipway.components.prep.spec import DatasetSpec
from shipway.errors import InvalidSpec
from shipway.specs import parse


def test_the_same_spec_from_ui_yaml_and_python_has_one_hash() -> None:
    python = DatasetSpec(name="bot", data="rows.csv", seed=3, group_column=None)
    ui = parse(DatasetSpec, {"name": "bot", "data": "rows.csv", "seed": 3.0, "group_column": ""})
    yaml = parse(DatasetSpec, "name: bot\ndata: rows.csv\nseed: 3\n")
    dumped = parse(DatasetSpec, json.dumps(python.model_dump(mode="json")))
    assert len({fingerprint(spec) for spec in (python, ui, yaml, dumped)}) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels_column": "t"}, r"dataset.labels_column: unknown field.*did you mean 'label_column'"),
        ({"input": {"colunm": "t"}}, r"dataset.input.colunm: unknown field.*did you mean 'column'"),
        ({"input": {"max_chars": 0}}, r"dataset.input.max_chars: .*0"),
        ({"labels": {"fold": "all"}}, r"dataset.labels.fold: .*none, unicode, case.*'all'"),
        ({"test_fraction": 0.95}, r"leave nothing for train"),
        ({"label_column": "text"}, r"must differ, got text, text"),
        ({"name": "My Bot"}, r"dataset.name: .*'My Bot'"),
        ({"delimiter": ",,"}, r"dataset.delimiter: .*',,'"),
        ({"seed": -1}, r"dataset.seed: .*-1"),
        ({"on_unseen_label": "drop"}, r"dataset.on_unseen_label: .*count, quarantine, error.*'drop'"),
        ({"format": "excel"}, r"dataset.format: .*'excel'"),
    ],
)
def test_a_wrong_spec_is_refused_in_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message) as caught:
        check(parse(DatasetSpec, {"name": "bot", "data": "rows.csv", **change}, "dataset"))
    assert "\n" not in str(caught.value)
