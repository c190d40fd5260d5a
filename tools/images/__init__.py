"""Builds, packs, audits and publishes the images: `python -m tools.images --help`. docs/images.md tells how.

For tests that run the images elsewhere: `archive("launcher")` gives a docker-archive of the current tree's image.
"""

from tools.images.archives import archive as archive
from tools.images.builds import build as build
from tools.images.settings import NAMES as NAMES
