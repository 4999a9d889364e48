"""Digests: accepted spellings, the printed form, and the error for other text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.store.digest import Digest


@pytest.mark.parametrize("text", ["ab" * 32, "sha256:" + "AB" * 32, " sha256:" + "ab" * 32])
def test_digests_have_one_spelling(text: str) -> None:
    assert str(Digest.parse(text)) == "sha256:" + "ab" * 32


@pytest.mark.parametrize("text", ["", "sha256:", "md5:" + "ab" * 16, "xy" * 32, "ab" * 31])
def test_other_text_is_refused_with_the_expected_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="sha256:"):
        Digest.parse(text)


@given(st.text() | st.from_regex(r"(?i)(sha256:)?[0-9a-f]{62,66}"))
def test_any_text_is_a_digest_or_a_value_error(text: str) -> None:
    try:
        said = Digest.parse(text).hexadecimal
    except ValueError as error:
        said = str(error)
    assert re.fullmatch("[0-9a-f]{64}", said) or (said.isprintable() and "sha256:" in said and len(said) < 1000)
