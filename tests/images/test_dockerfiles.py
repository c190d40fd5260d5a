"""hadolint's rules for Dockerfiles, and ours."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from shipway import images
from shipway.errors import InvalidSpec
from tools.images import settings

ROOT = Path(__file__).parents[2]
DOCKERFILES = sorted(ROOT.glob("images/*/Dockerfile"))

Instruction = tuple[str, str]


def read(path: Path) -> list[Instruction]:
    """(instruction, arguments), continued lines joined, comments dropped."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(first.upper(), rest) for first, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def last_stage(path: Path) -> list[Instruction]:
    """From the last FROM on."""
    found = read(path)
    start = max(i for i, (word, _) in enumerate(found) if word == "FROM")
    return found[start:]


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.parent.name)
def dockerfile(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def test_each_image_has_a_dockerfile() -> None:
    assert {path.parent.name for path in DOCKERFILES} == set(images.DEFAULTS)


def test_hadolint_finds_nothing_in_any_of_them() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, "--no-color", *DOCKERFILES], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_every_stage_starts_from_a_pinned_base_or_another_stage(dockerfile: Path) -> None:
    stages: set[str] = set()
    for word, rest in read(dockerfile):
        if word == "FROM":
            source, *named = re.split(r" AS ", rest)
            assert source in {"${BASE}", "${TENSORFLOW}", "scratch"} | stages, source
            stages |= set(named)


@pytest.mark.parametrize("given", ["python:3.11-slim-bookworm", "python:latest", "python@sha256:1234"])
def test_a_base_without_a_digest_is_refused(given: str) -> None:
    with pytest.raises(InvalidSpec, match="is not pinned"):
        settings.base(given)


def test_a_missing_base_is_refused_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BASE", raising=False)
    monkeypatch.setattr(settings, "settings", lambda: {"BASE": ""})
    with pytest.raises(InvalidSpec, match=r"images/base\.env: BASE is not set; write .*@sha256"):
        settings.base()


def test_what_runs_is_given_in_exec_form(dockerfile: Path) -> None:
    found = [(word, rest) for word, rest in last_stage(dockerfile) if word in ("CMD", "ENTRYPOINT")]
    assert found
    for word, rest in found:
        assert all(isinstance(part, str) for part in json.loads(rest)), word


def test_the_image_runs_as_a_numeric_user_who_is_not_root(dockerfile: Path) -> None:
    assert [rest for word, rest in last_stage(dockerfile) if word == "USER"][-1] == "1000:1000"


def test_no_package_lists_recommended_packages_or_sudo_stay(dockerfile: Path) -> None:
    for word, rest in read(dockerfile):
        if word == "RUN":
            assert "sudo" not in rest
            assert not re.search(r"\b(curl|wget) ", rest), "downloads belong to pip, with hashes"
            if "apt-get install" in rest:
                assert "--no-install-recommends" in rest
                assert "rm -rf /var/lib/apt/lists/*" in rest
                assert "apt-get upgrade" not in rest


def test_packages_come_by_hash_or_not_from_the_network(dockerfile: Path) -> None:
    for word, rest in read(dockerfile):
        for command in re.findall(r"pip [^&]*\b(?:install|wheel)\b[^&]*", rest) if word == "RUN" else []:
            assert "--require-hashes" in command or "--no-index" in command, command
            assert "--no-deps" in command, command


def test_files_are_copied_not_added_and_compilers_stay_behind(dockerfile: Path) -> None:
    assert not [rest for word, rest in read(dockerfile) if word in ("ADD", "MAINTAINER", "ONBUILD")]
    for word, rest in last_stage(dockerfile):
        if word == "RUN":
            assert not re.search(r"\b(g\+\+|gcc|make|binutils|build-essential|pip)\b", rest), rest


def test_labels_say_what_it_is(dockerfile: Path) -> None:
    (labels,) = [rest for word, rest in last_stage(dockerfile) if word == "LABEL"]
    for key in ("title", "description", "version", "revision", "source", "licenses"):
        assert f"org.opencontainers.image.{key}=" in labels


def test_the_builder_sees_only_what_images_are_made_of() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == set(settings.INPUTS)
