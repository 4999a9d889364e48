"""The names of the parts of a split model. `parts` groups files by them, and `wait` waits for all of them.

Source: `llama-gguf-split` of llama.cpp, `<prefix>-<number>-of-<count>.gguf`. It imports little, because `wait` must.
"""

import re

MAX_PARTS = 4096
"""The most parts of a model, as the resource's `status.model.files` has room for."""
PART = re.compile(r"(?P<stem>.*)-(?P<number>[0-9]{5})(?P<end>-of-(?P<count>[0-9]{5})\.gguf)", re.IGNORECASE | re.DOTALL)


def parts_of(path: str) -> tuple[str, ...]:
    """The paths of all parts of the model that `path` is a part of, at most 4,096; `path` alone if it is no part."""
    part = PART.fullmatch(path)
    if not part or not 1 <= int(part["number"]) <= int(part["count"]) <= MAX_PARTS:
        return (path,)
    return tuple(numbered(path, int(part["count"])))


def numbered(path: str, count: int) -> list[str]:
    """The path of each part; `path` is one of them."""
    return [PART.sub(rf"\g<stem>-{number:05}\g<end>", path) for number in range(1, count + 1)]
