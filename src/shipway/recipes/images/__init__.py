"""Image classification: which of the known classes an image shows. Its sibling for several tags is `image_tags`.

A small network for small images, Inception v1, or VGG19, by the parameter `network`; images are changed at random in
training. docs/recipes.md says what each parameter does.
"""

from __future__ import annotations

from shipway.recipes.images.recipe import ImageRecipe

recipe = ImageRecipe("images", "classification")

__all__ = ["ImageRecipe", "recipe"]
