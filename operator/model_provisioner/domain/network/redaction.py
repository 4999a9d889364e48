"""Finds secrets in what a source says: a hub or a proxy may send back the token or the password that it was given.

`transfer.http.echoes` applies this to every error and answer that leaves the resolver or the engine. Text of hubs that
looks like any token is made harmless in `hub_errors`; here the secrets are known, so every spelling of them is found.

Letters and digits are compared, without regard to case, after escapes were decoded: what is between them may change on
the way, as in a host name or a quoted line. A source that wants to pass on a secret can always disguise it further; it
has other ways to do so.
"""

import base64
import re
from collections.abc import Iterable, Iterator

_MARK = "…"
_PART = 8
"""The shortest part of a secret that is hidden in a message, in letters and digits. A message may be cut."""
_CERTAIN_PART = 16
"""The shortest part that makes a name or a digest unusable: a shorter one of a weak secret may be an ordinary word."""
_SHORTEST = 4
_HEX = "[0-9a-fA-F]"
_ESCAPE = (
    rf"%(?:25)*({_HEX}{{2}})|\\x({_HEX}{{2}})|\\u({_HEX}{{4}})|\\U({_HEX}{{8}})|&#x({_HEX}{{1,6}});"
    r"|&#([0-9]{1,7});|\\[\\nrt]"
)
"""Percent-encoding, also of a percent sign (RFC 3986, 2.4), escapes of JSON and Python, and of HTML."""
_ESCAPED = re.compile(_ESCAPE)
_PIECE = re.compile(rf"{_ESCAPE}|.", re.DOTALL)
_DECIMAL_GROUP = 6
_OTHERS = re.compile("[^0-9A-Za-z]+")


class Redaction:
    """Finds the `secrets`: plain, percent-encoded, in Base64 at any offset, in hexadecimal, and parts of each."""

    def __init__(self, secrets: Iterable[str]) -> None:
        written = [spelling for secret in secrets for spelling in _spellings(secret)]
        # Both, because a secret may look like an escape, such as `p%41`, and is then decoded or not.
        spellings = [*map(_compared, written), *map(_bare, written)]
        self._parts = _windows(spellings, _PART, _SHORTEST)
        self._certain_parts = _windows(spellings, _CERTAIN_PART, _PART)

    def text(self, text: str) -> str:
        """`text` with `…` in place of every part of a secret that has at least eight letters and digits."""
        letters = list(_letters(text))
        line = "".join(letter for letter, _, _ in letters)
        shown, shown_until = [], 0
        for first, last in _finds(line, self._parts):
            start, end = letters[first][1], letters[last][2]
            if start >= shown_until:
                shown += [text[shown_until:start], _MARK]
            shown_until = max(end, shown_until)
        return "".join([*shown, text[shown_until:]])

    def is_in(self, text: str) -> bool:
        """Whether `text` has a secret, or a part of it with at least sixteen letters and digits."""
        line = _compared(text)
        return any(part in line for part in self._certain_parts)


def _spellings(secret: str) -> Iterator[str]:
    yield secret
    content = secret.encode(errors="replace")
    if len(content) < _PART:
        return
    yield content.hex()
    for offset in range(3):
        bits = 8 * (offset + len(content))  # six bits a character; those at the edges depend on the neighbours too
        yield base64.b64encode(bytes(offset) + content).decode()[-(-8 * offset // 6) : bits // 6]


def _windows(spellings: Iterable[str], size: int, shortest: int) -> frozenset[str]:
    """All parts of `size` characters; a spelling that is shorter, but not than `shortest`, as a whole."""
    return frozenset(
        spelling[at : at + size]
        for spelling in spellings
        if len(spelling) >= shortest
        for at in range(max(1, len(spelling) - size + 1))
    )


def _finds(line: str, parts: frozenset[str]) -> Iterator[tuple[int, int]]:
    """The indexes of the first and last character of each find, in order; they may overlap."""
    sizes = sorted({len(part) for part in parts})
    for at in range(len(line)):
        for size in sizes:
            if line[at : at + size] in parts:
                yield at, at + size - 1


def _letters(text: str) -> Iterator[tuple[str, int, int]]:
    """The letters and digits that are compared, each with its start and end in `text`."""
    for piece in _PIECE.finditer(text):
        char = piece[0] if len(piece[0]) == 1 else _decoded(piece)
        if char.isascii() and char.isalnum():
            yield char.lower(), piece.start(), piece.end()


def _compared(text: str) -> str:
    return _bare(_ESCAPED.sub(_decoded, text))


def _bare(text: str) -> str:
    return _OTHERS.sub("", text).lower()


def _decoded(escape: re.Match[str]) -> str:
    """The character that `escape` stands for; "" if there is none, or if it is white space or a backslash."""
    if escape.lastindex is None:
        return ""
    code = int(escape[escape.lastindex], 10 if escape.lastindex == _DECIMAL_GROUP else 16)
    return chr(code) if code <= 0x10FFFF else ""
