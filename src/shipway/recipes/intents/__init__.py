"""Intent classification: which of the known intents a sentence means.

A wide part (hashed words, word pairs and character n-grams with IDF weights) beside, by the parameter `architecture`,
a bag of word embeddings, an LSTM, a GRU or a CNN over the words. docs/recipes.md says what each parameter does.
"""

from __future__ import annotations

from shipway.recipes.intents.recipe import IntentsRecipe

recipe = IntentsRecipe()

__all__ = ["IntentsRecipe", "recipe"]
