"""Server-sent events as bytes (WHATWG HTML, "Server-sent events"). No I/O."""

import json
from collections.abc import Mapping


def event(name: str, data: Mapping[str, object], last_id: str | None = None) -> bytes:
    """One event. Its data is one line: JSON escapes every line break in it."""
    lines = [f"event: {name}", f"data: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}"]
    if last_id is not None:
        lines.insert(0, f"id: {last_id}")
    return ("\n".join(lines) + "\n\n").encode()


def comment(text: str) -> bytes:
    """What clients ignore: a heartbeat, or a word to whoever reads the wire."""
    return f": {text}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """How long a client shall wait before it comes back."""
    return f"retry: {milliseconds}\n\n".encode()
