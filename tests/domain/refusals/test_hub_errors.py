"""Errors for responses of a hub: the error code comes before the message, the message before the status."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.errors import (
    AccessDenied,
    LicenseNotAccepted,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.refusals.hub_errors import HubRequest, hub_error

PAGE = "https://hub.test/owner/repo"
CODE = "X-Error-Code"
MESSAGE = "X-Error-Message"
BAD_TOKEN = {MESSAGE: "Invalid credentials in Authorization header"}


@pytest.mark.parametrize(
    ("status", "headers", "authenticated", "error", "says"),
    [
        (401, {MESSAGE: "Invalid username or password."}, False, SourceNotFound, "or is private"),
        (401, BAD_TOKEN, True, AccessDenied, "wrong, expired or revoked"),
        (401, {CODE: "GatedRepo"}, False, LicenseNotAccepted, f"visit {PAGE}, accept the conditions"),
        (403, {CODE: "GatedRepo"}, True, LicenseNotAccepted, f"not granted access: visit {PAGE}"),
        (404, {CODE: "RepoNotFound"}, True, SourceNotFound, "may not see it"),
        (404, {CODE: "RepoNotFound"}, False, SourceNotFound, "or is private"),
        (404, {CODE: "RevisionNotFound"}, False, SourceNotFound, "no such revision"),
        (404, {CODE: "EntryNotFound"}, False, SourceNotFound, "no such file"),
        (403, {MESSAGE: "Access to this resource is disabled."}, True, AccessDenied, "disabled"),
        (403, {}, True, AccessDenied, "permissions of the token"),
        (404, {}, False, SourceNotFound, "check the spelling"),
        (429, {}, False, RateLimited, "a token raises the limit"),
        (400, {}, False, SourceUnavailable, "answered 400"),
        (408, {}, False, SourceUnavailable, "answered 408"),
        (500, {}, False, SourceUnavailable, "answered 500"),
        (504, {}, False, SourceUnavailable, "answered 504"),
    ],
)
def test_each_refusal_has_its_error(
    status: int, headers: dict[str, str], authenticated: bool, error: type[ProvisionError], says: str
) -> None:
    found = hub_error(status, headers, HubRequest("hf:owner/repo", PAGE, authenticated), now=0)
    assert type(found) is error
    with pytest.raises(error, match=rf"hf:owner/repo.*{says}|{says}.*hf:owner/repo"):
        raise found


@pytest.mark.parametrize(
    ("status", "headers", "authenticated", "wanted"),
    [
        (404, {}, False, True),
        (401, {CODE: "GatedRepo"}, False, True),
        (401, BAD_TOKEN, True, True),
        (429, {}, False, True),
        (429, {}, True, False),
        (404, {}, True, False),
        (403, {CODE: "GatedRepo"}, True, False),
        (404, {CODE: "RevisionNotFound"}, False, False),
    ],
)
def test_a_token_is_wanted_where_none_came_or_a_bad_one(
    status: int, headers: dict[str, str], authenticated: bool, wanted: bool
) -> None:
    assert hub_error(status, headers, HubRequest("hf:owner/repo", PAGE, authenticated), now=0).wants_token == wanted


def test_a_wait_that_is_asked_for_is_handed_on() -> None:
    found = hub_error(429, {"RateLimit": '"api";r=0;t=30'}, HubRequest("hf:owner/repo", PAGE, False), now=0)
    assert isinstance(found, RateLimited)
    assert found.retry_after == 30


IP_ADDRESS = "Your IP address is not in the allow-list of this organization"
FINE_GRAINED = "The fine-grained token lacks the permission repo.content.read"


@pytest.mark.parametrize(
    ("status", "said", "authenticated", "error", "shown"),
    [
        (403, IP_ADDRESS, False, AccessDenied, rf"refuses access .*\(403\): '{IP_ADDRESS}'; see {PAGE}$"),
        (403, FINE_GRAINED, True, AccessDenied, rf"\(403\): '{FINE_GRAINED}'; check the permissions of the token$"),
        (403, "", False, AccessDenied, rf"\(403\): see {PAGE}$"),
        (401, "User Access Token is expired", True, AccessDenied, "does not accept the token.*'User Access Token is"),
        (401, BAD_TOKEN[MESSAGE], False, SourceNotFound, "does not exist, or is private"),
        (404, "No mirror of this repository", False, SourceNotFound, "'No mirror of this repository'; check the sp"),
        (503, "Maintenance until 12:00", False, SourceUnavailable, "answered 503 .*: 'Maintenance until 12:00'$"),
        (429, "Quota of your plan", True, RateLimited, r"\(429\): 'Quota of your plan'$"),
    ],
)
def test_the_words_of_the_hub_are_shown(
    status: int, said: str, authenticated: bool, error: type[ProvisionError], shown: str
) -> None:
    found = hub_error(status, {MESSAGE: said}, HubRequest("hf:owner/repo", PAGE, authenticated), now=0)
    assert type(found) is error
    assert re.search(shown, found.message), found.message


@pytest.mark.parametrize("code", [None, "GatedRepo", "RepoNotFound", "RevisionNotFound", "EntryNotFound"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500])
def test_the_token_is_not_blamed_if_none_was_sent(status: int, code: str | None) -> None:
    headers = {CODE: code} if code else {}
    message = hub_error(status, headers, HubRequest("hf:owner/repo", PAGE, False), now=0).message
    assert not re.search(r"the token|token's", message)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("a\x1b[31m red\r\n line", "'a\N{REPLACEMENT CHARACTER}[31m red line'"),
        ("x" * 5000, "'" + "x" * 199 + "…'"),
        ("at https://cdn.test/file?Signature=secret#part now", "'at https://cdn.test/file now'"),
        ("token hf_abcdefghijklmnop is expired", "'token hf_… is expired'"),
        ("you sent Authorization: Bearer abc.def", "'you sent Authorization: Bearer …'"),
        ("   ", "(403): see"),
    ],
)
def test_the_words_of_the_hub_are_bounded_printable_and_without_secrets(said: str, shown: str) -> None:
    message = hub_error(403, {MESSAGE: said}, HubRequest("hf:owner/repo", PAGE, False), now=0).message
    assert shown in message
    assert message.isprintable()


HEADERS = st.dictionaries(
    st.sampled_from([CODE, MESSAGE, "RateLimit", "Retry-After", "WWW-Authenticate"]),
    st.text(st.characters(max_codepoint=255)) | st.sampled_from(["GatedRepo", '"api";r=0;t=99', BAD_TOKEN[MESSAGE]]),
)


@given(st.integers(), HEADERS, st.booleans())
def test_any_answer_is_a_named_error(status: int, headers: dict[str, str], authenticated: bool) -> None:
    found = hub_error(status, headers, HubRequest("hf:owner/repo", PAGE, authenticated), now=0)
    assert type(found) is not ProvisionError
    assert found.message.isprintable()
    assert len(found.message) < 500
