"""Decides which texts that Ollama publishes with a model are passed on, for programs that serve the model.

`transfer.sources.ollama` fetches the layers that `settings_layers` and `short_enough` name, and has `settings` judge
them. They go into the status, from which the catalog is built. Source: ollama, server/images.go (`GetModel`): the last
layer of a kind counts, and `prompt` is a former name of `template`.
"""

import json
import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence

from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.model_files.layers import Layer

MOST_BYTES = 16 * 1024
"""Of all texts of one model together. Usual models have 1 to 8 KiB; the catalog of a namespace has 800 KiB for all."""
_TYPE = "application/vnd.ollama.image."
_KINDS = {
    f"{_TYPE}template": "template",
    f"{_TYPE}prompt": "template",
    f"{_TYPE}params": "parameters",
    f"{_TYPE}system": "system",
}
_CONTROLS = frozenset("\t\n\r")


def settings_layers(layers: Sequence[Layer]) -> dict[str, Layer]:
    """The layers of a manifest with a text, by the field of OllamaSettings that they are for; no empty ones."""
    found = {_KINDS[layer.media_type]: layer for layer in layers if layer.media_type in _KINDS}
    return {field: layer for field, layer in found.items() if layer.size}


def short_enough(layers: Mapping[str, Layer]) -> dict[str, Layer]:
    """Those of `layers` that are fetched: the longest are left out until the rest has at most `MOST_BYTES`."""
    kept = sorted(layers, key=lambda field: layers[field].size)
    while sum(layers[field].size for field in kept) > MOST_BYTES:
        kept.pop()
    return {field: layers[field] for field in kept}


def settings(
    published: Collection[str], contents: Mapping[str, bytes], has_secret: Callable[[str], bool]
) -> OllamaSettings | None:
    """The texts in `contents`, by their fields; None if the model has none.

    `published` are the fields that the model has. What is no text, or no JSON object of parameters, or has a secret
    that the registry was sent, is left out and named.
    """
    if not published:
        return None
    texts = {field: text for field, content in contents.items() if (text := _text(field, content)) is not None}
    shown = {field: text for field, text in texts.items() if not has_secret(text)}
    omitted = tuple(sorted(set(published) - shown.keys()))
    return OllamaSettings(shown.get("template"), shown.get("parameters"), shown.get("system"), omitted or None)


def _text(field: str, content: bytes) -> str | None:
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    if any(unicodedata.category(char) == "Cc" and char not in _CONTROLS for char in text):
        return None
    return None if field == "parameters" and not _is_json_object(text) else text


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
