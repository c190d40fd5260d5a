"""Sentences of a deployed voice assistant, from which demos make their rows.

`home-assistant-intents` holds sentence templates (`[please] turn on [the] {name}`) in 65 languages; `hassil` parses
them. Templates are walked at random a bounded number of times, since most expand to millions of sentences.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from shipway.errors import NotFound

PER_TEMPLATE = (2, 40)
MIN_GROUPS = 5  # a class with fewer would often stand on one side of the split only
TRIES = 4  # walks for each sentence wanted: short templates repeat themselves
_BEGIN, _END = "\x02", "\x03"  # around a slot's words while a sentence is put together

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


class Slot(NamedTuple):
    """Words of a sentence that fill a slot; places in code points, the end exclusive."""

    start: int
    end: int
    name: str


@dataclass(frozen=True)
class Sentence:
    """One sentence.

    Attributes:
        text: What is said.
        slots: In the order of the text.
        group: Its template: split by sentence, a test set would hold near copies of the training set's sentences.
        domain: Of devices, empty where the template has none.
        combination: Name of the slots that the template has, empty where it has none.
    """

    text: str
    slots: list[Slot]
    group: str
    domain: str
    combination: str


@dataclass(frozen=True)
class Template:
    """One sentence template and where it came from."""

    text: str
    sentence: Any  # hassil.expression.Sentence
    domain: str
    combination: str


def languages() -> list[str]:
    """Languages that the package knows, `en`, `de-CH`, ..."""
    from home_assistant_intents import get_languages

    return sorted(get_languages())


def sample(language: str, rows_per_intent: int, seed: int) -> dict[str, list[Sentence]]:
    """Intent -> distinct sentences; the same arguments give the same.

    Templates that refer to lists which only a running assistant has give none.

    Args:
        language: As `languages()` has it; names of rooms and devices are English where we have none.
        rows_per_intent: At most as many of each intent; its templates may have fewer.
        seed: Another seed is another sample.

    Raises:
        NotFound: an unknown language.
    """
    from hassil.intents import Intents
    from home_assistant_intents import get_intents

    document = get_intents(language) if language in languages() else None
    if document is None:
        known = languages()
        raise NotFound("no intents in", field="language", given=language, allowed=known)
    intents = Intents.from_dict(document)
    walker = _Walker(intents, language)
    return {
        label: _of_intent(label, list(_templates(intent)), walker, rows_per_intent, seed)
        for label, intent in sorted(intents.intents.items())
    }


def _of_intent(label: str, templates: list[Template], walker: _Walker, most: int, seed: int) -> list[Sentence]:
    low, high = PER_TEMPLATE
    few = len({template.text for template in templates}) < 2 * MIN_GROUPS
    wanted = min(max(-(-most // max(len(templates), 1)), low), high) * (MIN_GROUPS if few else 1)
    rows: dict[str, Sentence] = {}
    for template in templates:
        walker.seed(f"{seed}/{label}/{template.text}/{template.combination}")
        taken = 0
        for _ in range(wanted * TRIES):
            text, slots, choices = walker.walk(template)
            if text and text.lower() not in rows:
                group = f"{template.text} {choices}".strip() if few else template.text
                rows[text.lower()] = Sentence(text, slots, group, template.domain, template.combination)
                taken += 1
            if taken >= wanted:
                break
    ordered = list(rows.values())
    random.Random(f"{seed}/{label}").shuffle(ordered)
    return ordered[:most]


def _templates(intent: Any) -> Iterator[Template]:
    for block in intent.data:
        domain = min(block.domains, default="")
        combination = str((block.metadata or {}).get("slot_combination", ""))
        for text, sentence in zip(block.sentence_texts, block.sentences, strict=True):
            yield Template(text, sentence, domain, combination)


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
        self.names: list[str] = []
        self.is_inside = False  # of a slot

    def seed(self, seed: str) -> None:
        """Makes a template's sentences independent of all other templates."""
        self.random = random.Random(seed)

    def walk(self, template: Template) -> tuple[str, list[Slot], str]:
        """One sentence (empty where the template cannot be sampled), its slots, and the alternatives taken in the
        template."""
        self.choices, self.names, self.is_inside = [], [], False
        try:
            text = self._say(template.sentence.expression, depth=0)
        except _SkipTemplate:
            return "", [], ""
        return *_unmarked(re.sub(r"\s+", " ", text).strip(), self.names), "/".join(self.choices)

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
        if self.is_inside:
            return self._value(expression, depth)
        self.is_inside = True
        words = self._value(expression, depth)
        self.is_inside = False
        if not words.strip():
            return words
        self.names.append(str(expression.slot_name or expression.list_name))
        before, behind = (
            words[: len(words) - len(words.lstrip())],
            words[len(words.rstrip()) :],
        )  # blanks are not of the slot
        return f"{before}{_BEGIN}{words.strip()}{_END}{behind}"

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


def _unmarked(text: str, names: list[str]) -> tuple[str, list[Slot]]:
    """The text without its marks, and what they marked."""
    plain, slots = "", []
    for number, piece in enumerate(re.split(f"[{_BEGIN}{_END}]", text)):
        if number % 2:
            slots.append(Slot(len(plain), len(plain) + len(piece), names[number // 2]))
        plain += piece
    return plain, slots
