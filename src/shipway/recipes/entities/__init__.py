"""Entities: the pieces of a text that name something, such as the rooms and numbers of a command.

Words and their characters go through a BiLSTM or a CNN, by the parameter `architecture`, and with `crf` through a
conditional random field. docs/recipes.md says what each parameter does.
"""

from __future__ import annotations

from shipway.recipes.entities.recipe import EntitiesRecipe

recipe = EntitiesRecipe()

__all__ = ["EntitiesRecipe", "recipe"]
