"""Which texts of a model of Ollama are passed on, and which are left out and named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.model_files.layers import Layer
from model_provisioner.domain.model_files.ollama_settings import MOST_BYTES, settings, settings_layers, short_enough

FIELDS = ("parameters", "system", "template")


def layer(kind: str, size: int = 1) -> Layer:
    return Layer(f"application/vnd.ollama.image.{kind}", f"sha256:{size:064}", size, {})


def no_secret(_: str) -> bool:
    return False


def test_the_last_layer_of_a_kind_counts_and_licences_do_not() -> None:
    kinds = ("model", "license", "template", "params", "system", "messages", "projector", "adapter")
    found = settings_layers([layer("template", 9), layer("system", 9), *map(layer, kinds)])
    assert found == {"template": layer("template"), "parameters": layer("params"), "system": layer("system")}
    assert settings_layers([layer("template"), layer("prompt")]) == {"template": layer("prompt")}
    assert settings_layers([layer("system", 0)]) == {}


@pytest.mark.parametrize(
    ("sizes", "kept"),
    [
        ((100, 200, 300), FIELDS),
        ((MOST_BYTES, 0, 0), FIELDS),
        ((MOST_BYTES + 1, 200, 300), FIELDS[1:]),
        ((MOST_BYTES // 2, MOST_BYTES // 2, 1), ("parameters", "template")),
        ((MOST_BYTES + 1, MOST_BYTES + 2, MOST_BYTES + 3), ()),
    ],
)
def test_the_longest_are_left_out(sizes: tuple[int, ...], kept: tuple[str, ...]) -> None:
    layers = {field: layer("x", size) for field, size in zip(FIELDS, sizes, strict=True)}
    assert set(short_enough(layers)) == set(kept)


TEXTS: list[tuple[str, str | bytes, bool]] = [
    ("template", "{{ .System }}\n\t<｜User｜>{{ .Prompt }}\r\n", True),
    ("template", b"\xff", False),
    ("template", "a\x1b[2J", False),
    ("template", "\x00", False),
    ("system", "مرحبا", True),
    ("parameters", '{"stop":["<|im_end|>"],"temperature":0.6}', True),
    ("parameters", "[]", False),
    ("parameters", "{", False),
    ("parameters", '{"a":' * 5000, False),
    ("parameters", "", False),
]


@pytest.mark.parametrize(("field", "text", "shown"), TEXTS, ids=lambda value: str(value)[:30])
def test_what_is_no_text_is_left_out_and_named(field: str, text: str | bytes, shown: bool) -> None:
    found = settings([field], {field: text.encode() if isinstance(text, str) else text}, no_secret)
    assert found is not None
    assert (getattr(found, field), found.omitted) == ((text, None) if shown else (None, (field,)))


def test_a_text_with_a_secret_is_left_out() -> None:
    found = settings(FIELDS, dict.fromkeys(FIELDS[:2], b"{}"), lambda text: text == "{}")
    assert found == OllamaSettings(omitted=FIELDS)
    assert settings([], {}, no_secret) is None


@given(st.dictionaries(st.sampled_from(FIELDS), st.binary(max_size=60)))
def test_every_text_is_there_or_named(contents: dict[str, bytes]) -> None:
    found = settings(FIELDS, contents, no_secret)
    assert found is not None
    shown = {field for field in FIELDS if getattr(found, field) is not None}
    assert shown | set(found.omitted or ()) == set(FIELDS)
    assert not shown & set(found.omitted or ())
    assert all(getattr(found, field).encode() == contents[field] for field in shown)
