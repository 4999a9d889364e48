"""Server-sent events as bytes (WHATWG HTML, "Server-sent events"). No I/O."""

import json
from collections.abc import Mapping


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One event. Its data is one line: JSON escapes every line break in it."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def with_id(events: bytes, last_id: str) -> bytes:
    """The same events, the last of which has an id. Data has no line breaks, so none can look like an event."""
    at = events.rfind(b"\n\nevent: ")
    begin = 0 if at < 0 else at + 2
    return b"%bid: %b\n%b" % (events[:begin], last_id.encode(), events[begin:])


def comment(text: str) -> bytes:
    """What clients ignore: a heartbeat, or a word to whoever reads the wire."""
    return f": {text}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """How long a client shall wait before it comes back."""
    return f"retry: {milliseconds}\n\n".encode()
