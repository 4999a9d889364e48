"""The paths of models on a volume, and that no untrusted name leads outside."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.store.paths import check_name, is_local, store_path, with_commit


@pytest.mark.parametrize(
    ("ref", "file", "path"),
    [
        ("hf:a/b", "x.gguf", "hf/a/b/x.gguf"),
        ("hf:a/b:Q4_K_M", "sub/x.gguf", "hf/a/b/sub/x.gguf"),
        ("hf:a/b@main", "x.gguf", "hf/a/b/x.gguf"),
        ("hf:a/b@v1.0", "x.gguf", "hf/a/b@v1.0/x.gguf"),
        ("hf:a/b@refs/pr/1", "x.gguf", "hf/a/b@refs%2Fpr%2F1/x.gguf"),
        ("hf:a/b", "模型 1.GGUF", "hf/a/b/模型 1.GGUF"),
        ("local:mine/x.gguf", "mine/x.gguf", "local/mine/x.gguf"),
        ("https://host:8443/a%20b/x.gguf", "a b/x.gguf", "http/host+8443/a b/x.gguf"),
        ("http://host/x.gguf", "x.gguf", "http/host+80/x.gguf"),
    ],
)
def test_the_path_of_a_ref(ref: str, file: str, path: str) -> None:
    assert store_path(parse(ref), file) == path


def test_a_percent_in_a_label_can_not_imitate_another_label() -> None:
    assert HuggingFaceRef("a", "b", "x%2Fy").directory(None) != HuggingFaceRef("a", "b", "x/y").directory(None)


HOSTILE = {
    "absolute": "/etc/x.gguf",
    "empty part": "a//x.gguf",
    "current directory": "a/./x.gguf",
    "parent": "a/../../x.gguf",
    "only a parent": "../x.gguf",
    "backslash": "a\\..\\x.gguf",
    "NUL": "a\0x.gguf",
    "newline": "a\nx.gguf",
    "escape sequence": "\x1b[2Jx.gguf",
    "C1 control": "a\x9bx.gguf",
    "line separator": "a\u2028x.gguf",
    "lone surrogate": "a\udc80x.gguf",
    "no model": "x.safetensors",
    "a directory": "x.gguf/",
    "long part": "a" * 251 + ".gguf",
    "long part in bytes": "é" * 126 + ".gguf",
    "private": ".provisioner/parts/x.gguf",
    "private below": "hf/a/.Provisioner/x.gguf",
    "nothing": "",
}


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_name_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedSource, match="can't be stored") as refusal:
        check_name(name)
    assert refusal.value.message.isprintable()
    assert refusal.value.message.isascii()


INVISIBLE = {
    "right-to-left override": "model-\u202efugg.gguf",
    "left-to-right isolate": "a\u2066b.gguf",
    "Arabic letter mark": "a\u061cb.gguf",
    "space of zero width": "model\u200b.gguf",
    "joiner of zero width": "sub\u200d/model.gguf",
    "byte order mark": "\ufeffmodel.gguf",
    "soft hyphen": "mo\u00addel.gguf",
    "tag": "model\U000e0041.gguf",
    "filler": "model\u3164.gguf",
    "grapheme joiner": "mo\u034fdel.gguf",
    "variation selector": "model\ufe0f.gguf",
}


@pytest.mark.parametrize("name", INVISIBLE.values(), ids=INVISIBLE.keys())
def test_a_name_in_a_repository_that_is_not_what_it_looks_like_is_refused(name: str) -> None:
    with pytest.raises(UnsupportedSource, match="invisible or changes the direction") as refusal:
        store_path(parse("hf:a/b"), name)
    assert ascii(name) in refusal.value.message
    assert refusal.value.message.isascii()


def test_the_longest_part_that_a_file_system_takes_is_accepted() -> None:
    assert check_name("a" * 250 + ".gguf")


@given(st.text(alphabet=st.one_of(st.sampled_from("/.\\\0\n"), st.characters()), max_size=30))
def test_what_is_accepted_stays_below_the_root(start: str) -> None:
    name = f"{start}.gguf"
    try:
        path = check_name(name)
    except UnsupportedSource:
        return
    assert path == name == posixpath.normpath(name)
    assert posixpath.join("/volume", path).startswith("/volume/")
    assert ".." not in path.split("/")
    assert all(0 < len(part.encode()) <= 255 for part in path.split("/"))


@pytest.mark.parametrize(
    ("path", "moved"),
    [
        ("hf/a/b/x.gguf", "hf/a/b@0123456789ab/x.gguf"),
        ("hf/a/b/sub/x.gguf", "hf/a/b@0123456789ab/sub/x.gguf"),
        ("hf/a/b@v1/x.gguf", "hf/a/b@0123456789ab/x.gguf"),
        ("hf/a/b@0123456789ab/x.gguf", "hf/a/b@0123456789ab/x.gguf"),
        ("hubs/h-1/a/b@v1/sub/x.gguf", "hubs/h-1/a/b@0123456789ab/sub/x.gguf"),
        ("hubs/h-1/a/x.gguf", None),
        ("hubs", None),
        ("local/a/b/x.gguf", None),
        ("hf/x.gguf", None),
    ],
)
def test_other_bytes_go_to_the_directory_of_their_commit(path: str, moved: str | None) -> None:
    assert with_commit(path, "0123456789abcdef0123456789abcdef01234567") == moved


def test_local_files_are_told_apart() -> None:
    assert is_local("local/x.gguf")
    assert not is_local("hf/local/b/x.gguf")


def test_each_other_hub_has_a_directory_of_its_own() -> None:
    ref = parse("hf:a/b@v1")
    endpoints = ("https://m.example", "https://m.example:8443", "https://m.example/x", "http://[::1]:80/x", "https://n")
    paths = [store_path(ref, "sub/x.gguf", endpoint, own=False) for endpoint in endpoints]
    assert len({path.split("/")[1] for path in paths}) == len(endpoints)
    assert all(path.startswith("hubs/") and path.endswith("/a/b@v1/sub/x.gguf") for path in paths)
    assert store_path(ref, "x.gguf", f"https://{'a.' * 126}a", own=False).startswith("hubs/a.a.")
