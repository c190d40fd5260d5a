"""Parameters as people type them."""

from __future__ import annotations

from pathlib import Path

import pytest

from shipway.cli.arguments import collect_params, spread_params
from shipway.errors import InvalidSpec, NotFound


@pytest.mark.parametrize(
    ("typed", "spread"),
    [
        (["--param", "a=1", "b=2", "--json"], ["--param", "a=1", "--param", "b=2", "--json"]),
        (["--param", "a=1", "--param", "b=2"], ["--param", "a=1", "--param", "b=2"]),
        (["--param=a=1", "b=2"], ["--param=a=1", "--param", "b=2"]),
        (["run", "x=1"], ["run", "x=1"]),
        (["--param", "a=1", "stranger"], ["--param", "a=1", "stranger"]),
        (["--param", "a=1", "b=s3://bucket/k?x=y", "o.t.e=3"],
         ["--param", "a=1", "--param", "b=s3://bucket/k?x=y", "--param", "o.t.e=3"]),
        (["--", "--param", "a=1", "b=2"], ["--", "--param", "a=1", "b=2"]),
        (["--param"], ["--param"]),
    ],
)  # fmt: skip
def test_several_pairs_may_stand_behind_one_flag(typed: list[str], spread: list[str]) -> None:
    assert spread_params(typed) == spread


def test_pairs_win_over_the_preset_flag_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("name: a\npreset: quick\nepochs: 3\noverrides: {training: {batch_size: 8}}\n")
    found = collect_params(["name=b", "overrides.training.seed=5"], file, "demo")
    assert found == {
        "name": "b",
        "preset": "demo",
        "epochs": 3,
        "overrides": {"training": {"batch_size": 8, "seed": 5}},
    }


def test_a_value_may_hold_equal_signs_and_be_empty() -> None:
    assert collect_params(["data=http://h/x?a=b=c", "recipe="]) == {"data": "http://h/x?a=b=c", "recipe": ""}


def test_dotted_values_are_typed_as_yaml_does() -> None:
    found = collect_params(["overrides.a.b=[1, 2]", "overrides.a.c=true", "overrides.a.d=x"])
    assert found == {"overrides": {"a": {"b": [1, 2], "c": True, "d": "x"}}}


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("|", "|"),
        (">", ">"),
        ("#", "#"),
        ("Item #", "Item #"),
        ("a # b", "a # b"),
        ("'7'", "7"),
        ('"a # b"', "a # b"),
        ("2024-13-45", "2024-13-45"),
        ("9" * 5_000, "9" * 5_000),
        ("--- a\n--- b", "--- a\n--- b"),
        ("a: b: c", "a: b: c"),
        ("!!python/object:os.system {}", "!!python/object:os.system {}"),
        ("", None),
        ("~", None),
        ("null", None),
    ],
)
def test_text_is_taken_as_typed_whatever_it_would_mean_in_yaml(typed: str, value: object) -> None:
    assert collect_params([f"overrides.a={typed}"]) == {"overrides": {"a": value}}


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["overrides.a={b: 1, b: 2}"], "--param overrides.a: the key 'b' stands twice, in line 1; leave one of them"),
        (["overrides.a={b: {c: 1, c: 2}}"], "the key 'c' stands twice"),
        (["overrides.a=[1, 2"], "--param overrides.a: neither YAML nor JSON"),
        (["overrides.a=" + "[" * 3_000], "--param overrides.a: (nested too deeply|neither)"),
        (["name"], "expected key=value"),
        (["=x"], "expected key=value"),
        (["a=1", "a.b=2"], "'a' is '1' already, not a mapping"),
        (["name=a", "data=x", "name=b"], "--param name: is given twice"),
        (["o.t.e=1", "o.t.e=1"], "--param o.t.e: is given twice"),
        (["o.t.e=&a [*a]"], "--param o.t.e: nested more than 100 deep"),
        (["o.t.e=" + "[" * 100_000], "--param o.t.e: nested too deeply"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_pair_that_is_none_is_one_clear_line(pairs: list[str], message: str) -> None:
    with pytest.raises(InvalidSpec, match=message):
        collect_params(pairs)


@pytest.mark.parametrize("value", ["9" * 5000, "2026-02-31"], ids=["a long number", "no date"])
def test_what_yaml_cannot_read_is_text(value: str) -> None:
    assert collect_params([f"o.t.e={value}"]) == {"o": {"t": {"e": value}}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- a\n- b\n", "got 'list'"),
        (b"a: [", "neither YAML nor JSON"),
        (b"\xff\xfe\x00", "cannot be read|neither YAML"),
    ],
)
def test_a_params_file_that_is_no_mapping_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidSpec, match=message):
        collect_params([], file)


def test_a_params_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no file .*gone\.yaml"):
        collect_params([], tmp_path / "gone.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: a\nepochs: 3\nname: b\n", "the key 'name' stands twice, in line 1 and in line 3"),
        ('{"name": "a",\n "overrides": {"training": {"seed": 1,\n "seed": 2}}}',
         "'seed' stands twice, in line 2 and in line 3"),
        ("overrides:\n- {a: 1, a: 2}\n", "the key 'a' stands twice, in line 2"),
        ("a: 2026-02-31\n", "neither YAML nor JSON"),
        ("name: a\n---\nname: b\n", "expected one document, got 2"),
        ("o: &a {t: *a}\n", "nested more than 100 deep"),
        ("o:\n- &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"- &{now} [{', '.join([f'*{last}'] * 10)}]\n" for last, now in zip("abcdef", "bcdefg", strict=True)
        ), "or more than 1000000 values"),
    ],
)  # fmt: skip
def test_a_file_in_which_one_line_undoes_another_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(InvalidSpec, match=message) as refused:
        collect_params([], file)
    assert str(refused.value).startswith(f"--params-file {file}: ")


def test_merged_keys_of_yaml_may_be_overridden(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("base: &b {seed: 1, epochs: 2}\noverrides: {training: {<<: *b, seed: 3}}\n")
    assert collect_params([], file)["overrides"] == {"training": {"seed": 3, "epochs": 2}}


@pytest.mark.parametrize("text", ["name: t\npassword: SWORDFISH: [\n", '{"token": "SWORDFISH" "x": 1}', "[SWORDFISH"])
def test_a_file_that_is_neither_yaml_nor_json_is_not_quoted(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(text)
    with pytest.raises(InvalidSpec, match=r"neither YAML nor JSON: .*line \d+, column \d+") as caught:
        collect_params([], path)
    assert "SWORDFISH" not in str(caught.value)
