"""Reads how a server wants to be logged in to, from `WWW-Authenticate` (RFC 9110, 11.6.1).

`transfer.clients.registries.registry` calls this. What is sent in answer to a challenge, and to which host, is decided
there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_MAX_CHARACTERS = 8192
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PIECE = re.compile(
    rf'[\s,]*(?:(?P<name>{_WORD})\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]+))'
    rf"|(?P<scheme>{_WORD})(?=[\s,]|\Z))"
)
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in: `scheme` in lower case, and its parameters as they were written, by names in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def challenges(header: str) -> tuple[Challenge, ...]:
    """Every challenge in the header field, in order. What is malformed, and all after it, is left out."""
    found: list[tuple[str, dict[str, str]]] = []
    text, position = header[:_MAX_CHARACTERS], 0
    while piece := _PIECE.match(text, position):
        position = piece.end()
        if piece["scheme"]:
            found.append((piece["scheme"].lower(), {}))
        elif found:
            value = piece["plain"] if piece["quoted"] is None else _ESCAPED.sub(r"\1", piece["quoted"])
            found[-1][1].setdefault(piece["name"].lower(), value)
    return tuple(Challenge(scheme, parameters) for scheme, parameters in found)
