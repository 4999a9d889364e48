"""Reads server-sent events (HTML standard, 9.2.6) with one line of JSON each, as the gateway sends them.

Called by `demo` and by `deploy.e2e`, each with a connection of its own.
"""

import json
from collections.abc import Iterable, Iterator

from deploy.local.api import Document


def read_events(lines: Iterable[bytes]) -> Iterator[tuple[str, Document]]:
    """The name and the data of each event, until `lines` end."""
    name = ""
    for line in (raw.decode().rstrip("\n") for raw in lines):
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
