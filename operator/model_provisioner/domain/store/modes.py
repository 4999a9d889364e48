"""The modes and the group of the files and directories that a store creates, so that several uids can share a volume.

The settings of the operator and of `fetch` fill this; the store applies it if the file system has modes.
"""

import re
from dataclasses import dataclass

_OCTAL = re.compile("0?[0-7]{3}")


@dataclass(frozen=True, slots=True)
class Modes:
    """Permission bits of directories and of published files. `group` is a gid; None leaves it to the file system."""

    directory: int = 0o755
    file: int = 0o444
    group: int | None = None


READABLE = Modes()


def parse_mode(text: str) -> int:
    """Parses an octal mode as chmod takes it, such as `0755`. Raises ValueError with a message for users."""
    if _OCTAL.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not a mode: write three octal digits, such as 0755")
    return int(text, 8)
