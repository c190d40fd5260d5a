"""What a person types for an endpoint and reads of its answers, in the words of its input and task where known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shipway.errors import ShipwayError, UserError

if TYPE_CHECKING:
    from shipway.inputs import Input
    from shipway.tasks.base import Answers

CELL_CHARS = 60
ANSWER = "answer"  # heading of an answer without names


@dataclass(frozen=True)
class Wording:
    """The words of one endpoint.

    Attributes:
        kind: The model's input; None: unknown, a line that is a JSON object or list is sent as such, else as text.
        answers: Its task's; None: unknown, an answer's JSON is shown as it is.
        unknown: Why they are unknown, and what to do, where the model's recipe is known.
    """

    kind: Input | None = None
    answers: Answers | None = None
    unknown: str = ""

    @classmethod
    def of(cls, recipe: str, code: str = "") -> Wording:
        """By the model's recipe; unknown words where that is none, or not one that may be imported here.

        Args:
            recipe: Of the model that the endpoint serves; empty where that is not known.
            code: That the recipe is in.
        """
        from shipway.inputs import input_of
        from shipway.recipes import load_stored_recipe
        from shipway.tasks import task_of

        try:
            loaded = load_stored_recipe(recipe, "predict", code=code)
            return cls(input_of(loaded), task_of(loaded).answers)
        except ShipwayError as error:
            return cls(unknown=str(error) if recipe else "")

    @property
    def given(self) -> str:
        """What a line is called: by the input's name, `text`; `instance` where that is unknown."""
        return self.kind.name if self.kind is not None else "instance"

    def instance(self, line: str) -> Any:
        """What a line asks for.

        Raises:
            UserError: the input reads no instance in it.
        """
        if self.kind is not None:
            try:
                return self.kind.from_line(line)
            except ValueError as error:
                raise UserError(str(error)) from error
        try:
            parsed = json.loads(line)
        except ValueError:
            return line
        return parsed if isinstance(parsed, dict | list) else line

    def headings(self, answers: Sequence[Any]) -> list[str]:
        """Of the cells; of answers in unknown words the names that occur."""
        if self.answers is not None:
            return list(self.answers.headings)
        names = dict.fromkeys(name for answer in answers if isinstance(answer, Mapping) for name in answer)
        return [*names] or [ANSWER]

    def cells(self, answer: Any, headings: Sequence[str], line: str) -> list[str]:
        """An answer under those headings; `line` is what was typed for it."""
        if self.answers is not None:
            from shipway.tasks.base import QuotesInput

            try:
                if isinstance(self.answers, QuotesInput):
                    return self.answers.quoted(answer, line)
                return self.answers.line(answer)
            except (KeyError, TypeError, ValueError, AttributeError, IndexError):  # another server's answer
                return [_cell(answer), *[""] * (len(headings) - 1)]
        given = answer if isinstance(answer, Mapping) else {ANSWER: answer}
        return [_cell(given.get(name)) for name in headings]


def _cell(value: Any) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, float):
        return f"{value:.4g}"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= CELL_CHARS else f"{text[:CELL_CHARS]}..."
