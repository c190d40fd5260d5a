"""Characters that a person does not see, and texts that look the same."""

from __future__ import annotations

import re
import unicodedata

# Unicode's Default_Ignorable_Code_Point but for those that shape what stands beside them: zero-width blank, BOM, soft
# hyphen, marks of direction, fillers, variation selectors. The joiners U+200C and U+200D change what Persian or an
# emoji looks like, and the tags from U+E0020 on which flag is meant.
INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0100-\U000e01ef"
)
# Unicode's category Cf, but for hieroglyphs, shorthand and music.
FORMAT_CHARACTERS = (
    "\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f"
    "\ufeff\ufff9-\ufffb\U000e0001\U000e0020-\U000e007f"
)
BLANK = rf"^[\s{INVISIBLE}]*$"
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
REPLACED = "\ufffd"  # what a decoder writes for bytes that it cannot read
WRONGLY_DECODED = "replacement character U+FFFD: decoded wrongly before it came here"
_INVISIBLE = re.compile(f"[{INVISIBLE}]")


def plain_form(text: str) -> str:
    """Equal for texts that differ by Unicode's forms, invisible characters and blanks alone."""
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())
