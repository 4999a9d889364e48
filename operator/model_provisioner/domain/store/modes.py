"""Who may read and write what a store makes on a volume, so that several uids can share it.

Settings of the operator and of `fetch`; the store applies them, as far as the file system has modes.
"""

import re
from dataclasses import dataclass

_OCTAL = re.compile("0?[0-7]{3}")


@dataclass(frozen=True, slots=True)
class Modes:
    """Of directories and of published files; `group` None leaves it to the file system."""

    directory: int = 0o755
    file: int = 0o444
    group: int | None = None


READABLE = Modes()


def parse_mode(text: str) -> int:
    """`0755` as chmod takes it. Raises ValueError with a message for people."""
    if _OCTAL.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a mode: write three octal digits, such as 0755")
    return int(text, 8)
