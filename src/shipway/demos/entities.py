"""The demo's data: the slots of a deployed voice assistant, in several languages, as JSON lines with spans."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from shipway.demos._home import MIN_GROUPS, Sentence, sample
from shipway.tasks.spans.tokens import tokens

LANGUAGES = ("en", "de", "fr")
ROWS_PER_INTENT = 60


def write_entities_jsonl(
    path: str | Path, languages: Sequence[str] = LANGUAGES, rows_per_intent: int = ROWS_PER_INTENT, seed: int = 0
) -> dict[str, int]:
    """Writes a sentence a line: `text`, `spans`, `group`, `intent`, `language`; the same arguments give the same bytes.

    A slot that ends within a word takes the whole word, as people mark it: `Wohnzimmers` and not its `Wohnzimmer`. Left
    out: sentences with a slot that fewer than 5 groups have, since it might stand on one side of the split only,
    and those that stand in several intents with other slots, which without the household's context nobody could tell.

    Args:
        path: The file to write.
        languages: As `shipway.demos.intents.languages()` has them.
        rows_per_intent: At most as many rows of each intent and language.
        seed: Another seed is another sample.

    Returns:
        Type -> spans.

    Raises:
        NotFound: an unknown language.
    """
    rows = [row for language in languages for row in _rows(language, rows_per_intent, seed)]
    groups: dict[str, set[str]] = defaultdict(set)
    for _, language, sentence in rows:
        for slot in sentence.slots:
            groups[slot.name].add(f"{language} {sentence.group}")
    counts: dict[str, int] = defaultdict(int)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        for intent, language, sentence in rows:
            if any(len(groups[slot.name]) < MIN_GROUPS for slot in sentence.slots):
                continue
            spans = _spans(sentence)
            for span in spans:
                counts[span["type"]] += 1
            row = {"text": sentence.text, "spans": spans, "group": f"{language} {sentence.group}"}
            file.write(json.dumps({**row, "intent": intent, "language": language}, ensure_ascii=False) + "\n")
    return dict(counts)


def _rows(language: str, rows_per_intent: int, seed: int) -> Iterator[tuple[str, str, Sentence]]:
    """(intent, language, sentence), each text once."""
    sampled = sample(language, rows_per_intent, seed)
    meanings: dict[str, set[str]] = defaultdict(set)
    for sentences in sampled.values():
        for sentence in sentences:
            meanings[sentence.text.lower()].add(str(sentence.slots))
    said: set[str] = set()
    for intent, sentences in sampled.items():
        for sentence in sentences:
            key = sentence.text.lower()
            if len(meanings[key]) == 1 and key not in said:
                said.add(key)
                yield intent, language, sentence


def _spans(sentence: Sentence) -> list[dict[str, Any]]:
    starts, ends = (ragged.values for ragged in tokens([sentence.text]))
    spans, free = [], 0
    for slot in sentence.slots:
        first = max(int(np.searchsorted(ends, slot.start, side="right")), free)
        free = int(np.searchsorted(starts, slot.end))
        if first < free:  # else its word is an earlier slot's
            spans.append({"start": int(starts[first]), "end": int(ends[free - 1]), "type": slot.name})
    return spans


class Entities:
    """The demo of the recipe `entities`."""

    about = "slots of a deployed voice assistant in three languages, from JSON lines to an endpoint that answers."
    pipeline = "train_and_deploy"
    data = "entities.jsonl"
    params: ClassVar[dict[str, Any]] = {
        "name": "home-slots",
        "recipe": "entities",
        "label_column": "spans",
        "group_column": "group",
        "preset": "demo",
        "overrides": {
            "sweep": {"maxTrialCount": 1},
            "training": {"strategy": "single", "workers": 1, "batch_size": 32},  # few rows need many small steps
            "evaluation": {"slices": ["language"]},
        },
    }

    def write(self, path: Path) -> None:
        """English, German and French sentences of all intents."""
        write_entities_jsonl(path)


demo = Entities()
