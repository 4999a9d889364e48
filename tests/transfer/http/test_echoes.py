"""Secrets in exceptions, and in those that caused them."""

import traceback

import pytest

from model_provisioner.domain.errors import AccessDenied, RateLimited
from model_provisioner.domain.network.redaction import Redaction
from model_provisioner.transfer.http.echoes import redacted_errors

TOKEN = "hf_QxZvKpLmTrWsYbNcDfGh0123456789"
REDACTION = Redaction((TOKEN,))


def test_an_error_keeps_all_but_the_secret() -> None:
    with pytest.raises(RateLimited) as caught, redacted_errors(REDACTION):
        raise RateLimited(f"too often: {TOKEN}", 7.0, wants_token=True)
    assert (caught.value.message, caught.value.retry_after, caught.value.wants_token) == ("too often: …", 7.0, True)
    assert str(caught.value) == "too often: …"


def test_a_traceback_of_a_bug_has_no_secret_in_any_of_its_exceptions() -> None:
    with pytest.raises(LookupError) as caught, redacted_errors(REDACTION):
        _fail()
    printed = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in printed
    assert all(name in printed for name in ("LookupError", "AccessDenied", "KeyError", "RuntimeError"))


def _fail() -> None:
    try:
        try:
            raise ExceptionGroup("many", [KeyError(TOKEN), RuntimeError(7, f"x {TOKEN}")])
        except ExceptionGroup:
            raise AccessDenied(f"refused: {TOKEN}")  # noqa: B904 - the context is what the test looks at
    except AccessDenied as error:
        raise LookupError(f"a bug: {TOKEN}") from error
