"""The demo's data: the real intents of a deployed voice assistant as a CSV that any stranger could bring.

`home-assistant-intents` holds sentence templates (`[please] turn on [the] {name}`) in 65 languages; `hassil` parses
them. Templates are walked at random a bounded number of times, since most expand to millions of sentences. A row's
`group` is its template: split by sentence, the test set would hold near copies of the training set's sentences.
"""

from __future__ import annotations

import csv
import random
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from shipway.errors import NotFound, nearest

COLUMNS = ("text", "label", "group", "domain", "slots")
ROWS_PER_INTENT = 150
PER_TEMPLATE = (2, 40)
MIN_GROUPS = 5  # an intent with fewer would often stand on one side of the split only
TRIES = 4  # walks for each sentence wanted: short templates repeat themselves

# Values for the names that each household gives; the packages' own lists hold colours, numbers, states and so on.
HOUSEHOLD: dict[str, dict[str, tuple[str, ...]]] = {
    "en": {
        "area": ("kitchen", "living room", "bedroom", "bathroom", "office", "garage", "hallway", "garden", "basement"),
        "floor": ("ground", "first", "second", "upper", "top"),
        "name": ("ceiling light", "bedside lamp", "TV", "heater", "coffee machine", "front door", "fan", "blinds"),
        "wildcard": ("milk", "eggs", "pizza", "laundry", "dinner is ready", "Bohemian Rhapsody", "call the dentist"),
    },
    "de": {
        "area": ("Küche", "Wohnzimmer", "Schlafzimmer", "Bad", "Büro", "Garage", "Flur", "Garten", "Keller"),
        "floor": ("Erdgeschoss", "Obergeschoss", "Dachgeschoss", "Untergeschoss"),
        "name": ("Deckenlampe", "Nachttischlampe", "Fernseher", "Heizung", "Kaffeemaschine", "Haustür", "Ventilator"),
        "wildcard": ("Milch", "Eier", "Pizza", "Wäsche", "Essen ist fertig", "Beethovens Neunte", "Zahnarzt anrufen"),
    },
    "fr": {
        "area": ("cuisine", "salon", "chambre", "salle de bain", "bureau", "garage", "couloir", "jardin", "cave"),
        "floor": ("rez-de-chaussée", "premier étage", "deuxième étage", "sous-sol"),
        "name": ("plafonnier", "lampe de chevet", "télé", "radiateur", "cafetière", "porte d'entrée", "ventilateur"),
        "wildcard": ("lait", "œufs", "pizza", "lessive", "le dîner est prêt", "La Mer", "appeler le dentiste"),
    },
    "es": {
        "area": ("cocina", "salón", "dormitorio", "baño", "despacho", "garaje", "pasillo", "jardín", "sótano"),
        "floor": ("planta baja", "primera planta", "segunda planta", "ático"),
        "name": ("lámpara de techo", "lámpara de noche", "tele", "calefactor", "cafetera", "ventilador", "persiana"),
        "wildcard": ("leche", "huevos", "pizza", "colada", "la cena está lista", "Bésame mucho", "llamar al dentista"),
    },
    "nl": {
        "area": ("keuken", "woonkamer", "slaapkamer", "badkamer", "kantoor", "garage", "gang", "tuin", "kelder"),
        "floor": ("begane grond", "eerste verdieping", "tweede verdieping", "zolder"),
        "name": ("plafondlamp", "bedlamp", "tv", "verwarming", "koffiemachine", "voordeur", "ventilator", "rolluik"),
        "wildcard": (
            "melk",
            "eieren",
            "pizza",
            "was",
            "het eten is klaar",
            "Bloed, zweet en tranen",
            "tandarts bellen",
        ),
    },
}


@dataclass(frozen=True)
class Template:
    """One sentence template and where it came from."""

    text: str
    sentence: Any  # hassil.expression.Sentence
    domain: str
    slots: str


def languages() -> list[str]:
    """Languages that the package knows, `en`, `de-CH`, ..."""
    from home_assistant_intents import get_languages

    return sorted(get_languages())


def write_intents_csv(
    path: str | Path, language: str = "en", rows_per_intent: int = ROWS_PER_INTENT, seed: int = 0
) -> dict[str, int]:
    """Writes `text,label,group,domain,slots`; the same arguments give the same bytes.

    Left out: intents with fewer than 5 groups, sentences that belong to several intents (without the household's
    context nobody could tell), and templates that refer to lists which only a running assistant has.

    Args:
        path: The CSV to write.
        language: As `languages()` has it; names of rooms and devices are English where we have none.
        rows_per_intent: At most as many rows of each intent; its templates may have fewer sentences.
        seed: Another seed is another sample.

    Returns:
        Label -> rows.

    Raises:
        NotFound: an unknown language.
    """
    sampled = _sample(language, rows_per_intent, seed)
    labels_of: dict[str, set[str]] = defaultdict(set)
    for label, rows in sampled.items():
        for row in rows:
            labels_of[row[0].lower()].add(label)
    counts: dict[str, int] = {}
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for label, rows in sampled.items():
            kept = [row for row in rows if len(labels_of[row[0].lower()]) == 1]
            if len({row[1] for row in kept}) < MIN_GROUPS:
                continue
            counts[label] = len(kept)
            writer.writerows((text, label, *rest) for text, *rest in kept)
    return counts


def _sample(language: str, rows_per_intent: int, seed: int) -> dict[str, list[tuple[str, str, str, str]]]:
    """Label -> distinct (text, group, domain, slots)."""
    from hassil.intents import Intents
    from home_assistant_intents import get_intents

    document = get_intents(language) if language in languages() else None
    if document is None:
        known = languages()
        raise NotFound(
            f"language: no intents in {language!r}; expected one of {', '.join(known)}{nearest(language, known)}"
        )
    intents = Intents.from_dict(document)
    walker = _Walker(intents, language)
    sampled = {}
    for label, intent in sorted(intents.intents.items()):
        templates = list(_templates(intent))
        low, high = PER_TEMPLATE
        wanted = min(max(-(-rows_per_intent // max(len(templates), 1)), low), high)
        few = len({template.text for template in templates}) < 2 * MIN_GROUPS
        rows: dict[str, tuple[str, str, str, str]] = {}
        for template in templates:
            walker.seed(f"{seed}/{label}/{template.text}/{template.slots}")
            found = 0
            for _ in range(wanted * TRIES * (MIN_GROUPS if few else 1)):
                text, choices = walker.walk(template)
                if text and text.lower() not in rows:
                    group = f"{template.text} {choices}".strip() if few else template.text
                    rows[text.lower()] = (text, group, template.domain, template.slots)
                    found += 1
                if found >= wanted * (MIN_GROUPS if few else 1):
                    break
        ordered = list(rows.values())
        random.Random(f"{seed}/{label}").shuffle(ordered)
        sampled[label] = ordered[:rows_per_intent]
    return sampled


def _templates(intent: Any) -> Iterator[Template]:
    for block in intent.data:
        domain = min(block.domains, default="")
        slots = str((block.metadata or {}).get("slot_combination", ""))
        for text, sentence in zip(block.sentence_texts, block.sentences, strict=True):
            yield Template(text, sentence, domain, slots)


class _SkipTemplate(Exception):
    """The template needs what only a running assistant has."""


class _Walker:
    """Random walks through parsed templates."""

    def __init__(self, intents: Any, language: str) -> None:
        self.lists: Mapping[str, Any] = intents.slot_lists
        self.rules: Mapping[str, Any] = intents.expansion_rules
        self.language = language.split("-")[0]
        self.household = HOUSEHOLD.get(self.language, HOUSEHOLD["en"])
        self.random = random.Random(0)
        self.choices: list[str] = []

    def seed(self, seed: str) -> None:
        """Makes a template's sentences independent of all other templates."""
        self.random = random.Random(seed)

    def walk(self, template: Template) -> tuple[str, str]:
        """One sentence (empty where the template cannot be sampled), and the alternatives taken in the template."""
        self.choices = []
        try:
            text = self._say(template.sentence.expression, depth=0)
        except _SkipTemplate:
            return "", ""
        return re.sub(r"\s+", " ", text).strip(), "/".join(self.choices)

    def _say(self, expression: Any, depth: int) -> str:
        from hassil import expression as ex

        if isinstance(expression, ex.TextChunk):
            return str(expression.original_text)
        if isinstance(expression, ex.Alternative):
            number = self.random.randrange(len(expression.items))
            if depth == 0 and not expression.is_optional:
                self.choices.append(str(number))
            return self._say(expression.items[number], depth)
        if isinstance(expression, ex.Permutation):
            items = self.random.sample(expression.items, len(expression.items))
            return " ".join(self._say(item, depth) for item in items)
        if isinstance(expression, ex.Sequence):
            return "".join(self._say(item, depth) for item in expression.items)
        if isinstance(expression, ex.RuleReference):
            if expression.rule_name not in self.rules:
                raise _SkipTemplate
            return self._say(self.rules[expression.rule_name].expression, depth + 1)
        return self._value(expression, depth)

    def _value(self, reference: Any, depth: int) -> str:
        from hassil.intents import RangeSlotList, TextSlotList, WildcardSlotList

        name = str(reference.list_name)
        slot = self.lists.get(name)
        if slot is None:
            if name not in self.household:
                raise _SkipTemplate
            return self.random.choice(self.household[name])
        if isinstance(slot, TextSlotList) and slot.values:
            return self._say(self.random.choice(slot.values).text_in, depth + 1)
        if isinstance(slot, RangeSlotList):
            return f"{self.random.choice(list(slot.get_numbers())):g}"
        if isinstance(slot, WildcardSlotList):
            return self.random.choice(self.household["wildcard"])
        raise _SkipTemplate


class Intents:
    """The demo of the recipe `intents`."""

    about = "intents of a deployed voice assistant, from a CSV like yours to an endpoint that answers."
    pipeline = "train_and_deploy"
    data = "intents.csv"
    params: ClassVar[dict[str, Any]] = {"name": "home-intents", "group_column": "group", "preset": "demo"}

    def write(self, path: Path) -> None:
        """English sentences of all intents."""
        write_intents_csv(path)


demo = Intents()
