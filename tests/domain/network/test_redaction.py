"""Secrets that a source says back are found in every common spelling, and other words are left alone."""

import base64
import json
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.network.redaction import Redaction

TOKEN = "hf_QxZvKpLmTrWsYbNcDfGh0123456789"
PASSWORD = "p%41ss:wo/rd@Qx12+34="
REDACTION = Redaction((TOKEN, PASSWORD))

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: secret,
    "as in a header": lambda secret: f"Authorization: Bearer {secret}",
    "percent-encoded": lambda secret: quote(secret, safe=""),
    "every character percent-encoded": lambda secret: "".join(f"%{ord(char):02x}" for char in secret),
    "percent-encoded twice": lambda secret: quote("".join(f"%{ord(char):02X}" for char in secret)),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 of a user and it": lambda secret: "Basic " + base64.b64encode(f"user:{secret}".encode()).decode(),
    "base64 after two bytes": lambda secret: base64.b64encode(f"u:{secret}:x".encode()).decode(),
    "base64 for URLs": lambda secret: base64.urlsafe_b64encode(f"a{secret}".encode()).decode().rstrip("="),
    "hexadecimal": lambda secret: secret.encode().hex(),
    "JSON": lambda secret: json.dumps({"token": secret}),
    "escapes of JSON": lambda secret: "".join(f"\\u{ord(char):04x}" for char in secret),
    "escapes of Python": lambda secret: "".join(f"\\x{ord(char):02x}" for char in secret),
    "escapes of HTML": lambda secret: "".join(f"&#{ord(char)};" for char in secret),
    "a host name": lambda secret: f"https://{secret.lower().replace('_', '-')}.example",
    "upper case": str.upper,
    "two lines": lambda secret: f"{secret[:9]}\n  {secret[9:]}",
    "two lines, shown by repr": lambda secret: repr(f"{secret[:9]}\n{secret[9:]}"),
    "invisible characters between": lambda secret: ascii("\u200b".join(secret)),
    "a path": lambda secret: f"a/{secret[:11]}/{secret[11:]}.gguf",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("secret", [TOKEN, PASSWORD])
def test_a_secret_is_found_in_every_spelling(spelling: str, secret: str) -> None:
    spelled = SPELLINGS[spelling](secret)
    shown = REDACTION.text(f"the hub says '{spelled}'; check it")
    assert shown.startswith("the hub says '")
    assert "…" in shown
    assert shown.endswith("'; check it")
    assert not any(spelled[at : at + 10] in shown for at in range(len(spelled) - 9) if spelled[at : at + 10] in secret)
    assert REDACTION.is_in(spelled)
    assert not REDACTION.is_in(shown)


@given(st.integers(0, len(TOKEN) - 8), st.integers(8, len(TOKEN)))
def test_a_part_of_a_secret_that_was_cut_is_found(start: int, length: int) -> None:
    part = TOKEN[start : start + length]
    if sum(map(str.isalnum, part)) >= 8:
        assert set(REDACTION.text(f"({part}…)")) <= set("(_…)")


@given(st.text(), st.sampled_from(sorted(SPELLINGS)), st.text())
def test_nothing_around_it_hides_it(before: str, spelling: str, after: str) -> None:
    shown = REDACTION.text(before + " | " + SPELLINGS[spelling](TOKEN) + " | " + after)
    assert TOKEN[5:20] not in shown
    assert not REDACTION.is_in(shown)


@given(st.text())
def test_other_text_stays_as_it_is(text: str) -> None:
    assert REDACTION.text(text) == text
    assert not REDACTION.is_in(text)


def test_ordinary_words_of_a_weak_token_do_not_make_a_model_unusable() -> None:
    weak = Redaction(("tinyllama-reader",))
    assert not weak.is_in("hf/acme/TinyLlama-1.1B-GGUF/tinyllama.Q4_K_M.gguf")
    assert weak.is_in("hf/acme/x/tinyllama-reader.gguf")


@pytest.mark.parametrize(("secret", "shown"), [("abc", "abc is wrong"), ("abcd", "… is wrong"), ("", " is wrong")])
def test_a_very_short_secret_is_not_looked_for(secret: str, shown: str) -> None:
    assert Redaction((secret,)).text(f"{secret} is wrong") == shown
    assert not Redaction((secret,)).is_in(secret)


def test_a_redaction_does_not_show_its_secrets() -> None:
    assert TOKEN not in repr(REDACTION)
    assert Redaction(()).text(TOKEN) == TOKEN
