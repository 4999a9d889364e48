"""Errors for responses of a hub: the error code comes before the message, the message before the status."""

import pytest

from model_provisioner.domain.errors import (
    AccessDenied,
    LicenseNotAccepted,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.network.hub_errors import HubRequest, hub_error

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
