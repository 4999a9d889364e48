"""Writes a text as a YAML scalar, for the renderers of this room."""

_SHORT = {'"': '\\"', "\\": "\\\\"}


def quoted(text: str) -> str:
    """`text` as a double-quoted scalar in ASCII, which every parser of YAML 1.1 and 1.2 reads as exactly that text.

    `text` holds no surrogates: no path of a store does.
    """
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(char: str) -> str:
    if char in _SHORT:
        return _SHORT[char]
    if " " <= char <= "~":
        return char
    return f"\\u{ord(char):04X}" if ord(char) <= 0xFFFF else f"\\U{ord(char):08X}"
