"""Which names of files a repository may have: their length, and characters that a person can see.

`transfer.clients.hubs.hub_answers` refuses a listing with a longer name, `domain.store.paths` refuses a chosen name
that is not what it looks like, and `domain.model_files.selection` does not offer one. Which names are safe as paths is
decided in `domain.store.paths`.
"""

import re
import unicodedata

MAX_NAME_BYTES = 1024
"""The longest name of a file in a repository, as UTF-8. The hub's own names are shorter; a file system takes 255 bytes
for each part."""
_BLANK_LETTERS = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
"""Letters and marks that are shown as nothing (Unicode, Default_Ignorable_Code_Point) beside those of category Cf."""


def is_short(name: str) -> bool:
    """Whether the name has at most 1 KiB as UTF-8."""
    return len(name) <= MAX_NAME_BYTES and len(name.encode(errors="surrogatepass")) <= MAX_NAME_BYTES


def is_visible(name: str) -> bool:
    """Whether no character of the name is invisible or changes the direction of the text.

    Category Cf has the bidirectional controls, the characters of zero width, and the tags. Two names that differ in
    such a character look the same, and one with a right-to-left override looks like another name.
    """
    return name.isascii() or not (
        _BLANK_LETTERS.search(name) or any(unicodedata.category(char) == "Cf" for char in name)
    )
