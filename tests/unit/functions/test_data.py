"""What a function is given as data is known by its content, wherever it lies."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway.errors import NotFound
from shipway.functions.data import data_fingerprint, fetch
from shipway.local.prepared import prepare
from shipway.storage import Store


def test_another_content_is_other_data_in_a_file_a_folder_and_a_store(tmp_path: Path, local_store_uri: str) -> None:
    store, folder = Store.open(), tmp_path / "rows"
    folder.mkdir()
    places = {"file": f"{folder}/a.csv", "folder": str(folder), "object": f"{local_store_uri}/in/a.csv"}
    places["prefix"] = f"{local_store_uri}/in"
    seen = []
    for text in ("a", "b", "b"):
        (folder / "a.csv").write_text(text)
        store.put("in/a.csv", text.encode())
        seen.append({name: data_fingerprint({name: place}) for name, place in places.items()})
        assert all(Path(fetch(name, place, tmp_path / text)).exists() for name, place in places.items())
    for name in places:
        assert seen[0][name] != seen[1][name], name
    assert seen[1]["file"] == seen[2]["file"]
    assert data_fingerprint({}) == ""


def test_what_is_not_there_is_named_by_its_field(local_store_uri: str) -> None:
    with pytest.raises(NotFound, match=r"data\.rows: no file or folder 'no/rows.csv' where the training runs"):
        data_fingerprint({"rows": "no/rows.csv"})
    with pytest.raises(NotFound, match=r"data\.rows: nothing lies at file://.*/none"):
        data_fingerprint({"rows": f"{local_store_uri}/none"})


def test_a_run_of_changed_data_is_another_run_and_paths_are_found_from_anywhere(
    tmp_path: Path, local_store_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("def fit(context):\n    return 1.0\n")
    given = {"name": "rows", "function": "train.py:fit", "data": {"rows": "rows.csv", "far": f"{local_store_uri}/x"}}
    Store.open().put("x", b"1")
    (tmp_path / "rows.csv").write_text("a")
    prepared = prepare("train_function", given)
    assert prepared.params["data"] == {"rows": f"{tmp_path}/rows.csv", "far": f"{local_store_uri}/x"}
    before = prepared.key()
    (tmp_path / "rows.csv").write_text("b")
    assert prepare("train_function", given).key() != before
