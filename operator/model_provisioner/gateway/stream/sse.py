"""Server-sent events as bytes (WHATWG HTML, "Server-sent events"). No I/O; `progress` sends them."""

import json
from collections.abc import Mapping


def event(name: str, data: Mapping[str, object]) -> bytes:
    """One event. Its data is one line, because JSON escapes every line break."""
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()


def with_id(events: bytes, event_id: str) -> bytes:
    """The same events, the last one with an id. Data has no line break, so it can't be taken for an event."""
    at = events.rfind(b"\n\nevent: ")
    begin = 0 if at < 0 else at + 2
    return b"%bid: %b\n%b" % (events[:begin], event_id.encode(), events[begin:])


def comment(text: str) -> bytes:
    """A line that clients ignore: a heartbeat, or a message for a person who reads the raw stream."""
    return f": {text}\n\n".encode()


def retry(milliseconds: int) -> bytes:
    """How long a client waits before it reconnects."""
    return f"retry: {milliseconds}\n\n".encode()
