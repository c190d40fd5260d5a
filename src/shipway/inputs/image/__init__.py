"""Input `image`: one image a row, kept as the file's own bytes; a value is those bytes."""

from __future__ import annotations

from shipway.inputs.image.headers import BadImage
from shipway.inputs.image.kind import Image, Limits, Params, kind

__all__ = ["BadImage", "Image", "Limits", "Params", "kind"]
