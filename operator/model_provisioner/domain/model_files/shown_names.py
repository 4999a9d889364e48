"""How names of files and their number appear in messages. The names come from a source and are not trusted.

Called by the modules of this room that raise errors about the files of a repository.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from model_provisioner.domain.model_files.file_names import is_visible

_MAX_LISTED = 20
_MAX_KINDS = 8
_MAX_CHARACTERS = 255


def shown(text: str) -> str:
    """The text, shortened and printable, because messages go to terminals and logs."""
    shortened = text[:_MAX_CHARACTERS]
    return "".join(
        char if char.isprintable() and is_visible(char) else "\N{REPLACEMENT CHARACTER}" for char in shortened
    )


def enumerated(names: Sequence[str]) -> str:
    """The first 20 names, and how many more there are."""
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(map(shown, names[:_MAX_LISTED])) + more


def kinds(paths: Iterable[str]) -> str:
    """The most frequent kinds of file, with their numbers."""
    counted = Counter(_kind(path) for path in set(paths)).most_common()
    return ", ".join(
        f"{count} × {shown(kind)}" for kind, count in sorted(counted, key=lambda kind: (-kind[1], kind[0]))[:_MAX_KINDS]
    )


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return f".{extension}" if dot and stem else name
