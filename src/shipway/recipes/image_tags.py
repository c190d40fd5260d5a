"""Image tagging: which of the known tags an image has, each with a score of its own. The networks are those of
`images`."""

from __future__ import annotations

from shipway.recipes.images.recipe import ImageRecipe

recipe = ImageRecipe("image_tags", "tagging")
