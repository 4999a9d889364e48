"""Reads presets as the router of llama.cpp does: a measure for ours, rule by rule from common/preset.cpp."""

import re

_WS = r"[ \t]*"
_NEWLINE = r"(?:\r\n|\n|\r)"
_COMMENT = r"[;#][^\r\n]*"
_EOL = rf"{_WS}(?:{_COMMENT})?(?:{_NEWLINE}|\Z)"
_HEADER = re.compile(rf"\[{_WS}(?P<name>[^\]]+?){_WS}\]{_EOL}")
_VALUE = rf"(?P<value>.*?)(?={_WS}(?:[;#]|{_NEWLINE}|\Z))"
_PAIR = re.compile(rf"(?P<key>[a-zA-Z_][a-zA-Z0-9_.-]*){_WS}={_WS}{_VALUE}{_EOL}", re.DOTALL)
_NOTHING = re.compile(_EOL)

_OPTIONS = {"model", "mmproj"}
"""The keys that we use. The router knows more, and refuses the file for each one that it does not know."""


def read_presets(text: str) -> dict[str, dict[str, str]]:
    """The options of each model. Raises ValueError if the router would refuse the file.

    A key before the first section makes a model `default`, as in older versions of llama.cpp. The options of `[*]` are
    added to each model.
    """
    found: dict[str, dict[str, str]] = {}
    section, place = "default", 0
    while place < len(text):
        if match := _HEADER.match(text, place):
            section = match["name"]
            found[section] = {}
        elif match := _PAIR.match(text, place):
            options = found.setdefault(section, {})
            if match["key"] in _OPTIONS:
                options[match["key"]] = match["value"]
            elif match["key"] != "version":
                raise ValueError(f"option {match['key']!r} not recognized in preset {section!r}")
        elif not (match := _NOTHING.match(text, place)):
            raise ValueError(f"failed to parse the line at {text[place : place + 80]!r}")
        place = match.end()
    for_all = found.pop("*", {})
    return {name: {**for_all, **options} for name, options in found.items()}
