"""The identity token of a docker login: where it is exchanged, for what, and what it is not sent to."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from model_provisioner.domain.credentials.credentials import Credentials, RegistryLogin
from model_provisioner.domain.errors import (
    AccessDenied,
    ProvisionError,
    RateLimited,
    SourceUnavailable,
    UnsupportedSource,
)
from tests.support import registry
from tests.support.ggufs import tiny_gguf
from tests.transfer.sources.token_registry import Answer, TokenRegistry, token_registry
from tests.transfer.sources.web import Fetcher

LARGE = tiny_gguf(size=24 * 1024 * 1024)  # in several ranges

IDENTITY = "canary-0123456789abcdef" * 60  # of more than 1 KiB, as those of Azure


@pytest.fixture
async def hub() -> AsyncIterator[TokenRegistry]:
    """A registry with tokens from another host, which exchanges IDENTITY, with the artifact `v1` of one large model."""
    async with token_registry() as found:
        found.add("v1", LARGE)
        found.identity = IDENTITY
        yield found


def at(hub: TokenRegistry) -> str:
    return f"oci://{hub.host}/team/tiny:v1"


@pytest.fixture
def identity(hub: TokenRegistry) -> Credentials:
    """A login of `docker login` with an identity token, for a token server without TLS too."""
    login = RegistryLogin(hub.url.replace("http://", "https://"), "", "", IDENTITY)
    return Credentials(None, (hub.url, hub.token_url), logins=(login,))


async def test_an_identity_token_is_exchanged_for_tokens_of_the_registry(
    hub: TokenRegistry, fetch: Fetcher, identity: Credentials
) -> None:
    with pytest.raises(AccessDenied, match="without a credential"):
        await fetch.resolve(at(hub))
    hub.uses = 2
    plan = await fetch.resolve(at(hub), identity)
    provided = await fetch.transfer(plan, identity, connections=4)
    assert fetch.content(provided) == LARGE
    assert provided.received == hub.sent == len(LARGE)
    asked = [request for request in hub.requests("token") if request.method == "POST"]
    assert len(asked) > 2
    assert {request.headers["Content-Type"] for request in asked} == {"application/x-www-form-urlencoded"}
    assert not [one for one in hub.log if IDENTITY[:20] in f"{one[1].rel_url}{one[1].headers}"]
    assert "canary" not in repr(identity)


async def test_an_identity_token_goes_to_no_server_without_tls_that_the_secret_does_not_name(
    hub: TokenRegistry, fetch: Fetcher, identity: Credentials
) -> None:
    with pytest.raises(AccessDenied, match="is not encrypted: the login is not sent there"):
        await fetch.resolve(at(hub), replace(identity, origins=(hub.url,)))
    assert not hub.requests("token")


async def test_an_identity_token_is_not_sent_on_by_a_redirect(
    hub: TokenRegistry, fetch: Fetcher, identity: Credentials
) -> None:
    hub.scripted["token"] = (307, {"Location": f"{hub.content_url}/token"}, b"")
    with pytest.raises(UnsupportedSource, match="answered 307 when it was sent the identity token"):
        await fetch.resolve(at(hub), identity)
    assert not hub.requests("content")


async def test_an_identity_token_is_no_password(hub: TokenRegistry, fetch: Fetcher, identity: Credentials) -> None:
    hub.basic, hub.login = True, (registry.USER, registry.PASSWORD)
    with pytest.raises(AccessDenied, match=r"wants a user name and a password .* is an identity token"):
        await fetch.resolve(at(hub), identity)
    assert not [one for _, one in hub.log if "Authorization" in one.headers]


GRANTS: list[tuple[Answer, type[ProvisionError], str]] = [
    ((400, {}, b'{"error": "invalid_grant"}'), AccessDenied, "answered 400 .* wrong or expired; log in again"),
    ((401, {}, b""), AccessDenied, "answered 401 .* wrong or expired"),
    ((404, {}, b""), UnsupportedSource, "answered 404 .* exchanges none there: put a user name and a password"),
    ((405, {}, b""), UnsupportedSource, "exchanges none there"),
    ((429, {"Retry-After": "7"}, b""), RateLimited, "limits how often"),
    ((500, {}, IDENTITY.encode()), SourceUnavailable, "answered 500 when asked for a token for oci://"),
    ((200, {}, b"{}"), SourceUnavailable, "no token"),
    ((200, {}, b'{"refresh_token": "other"}'), SourceUnavailable, "no token"),
]


@pytest.mark.parametrize(("answer", "kind", "says"), GRANTS, ids=lambda value: str(value)[:40])
async def test_a_refused_identity_token_says_what_to_do(
    hub: TokenRegistry,
    fetch: Fetcher,
    identity: Credentials,
    answer: Answer,
    kind: type[ProvisionError],
    says: str,
) -> None:
    hub.scripted["token"] = answer
    with pytest.raises(kind, match=says) as caught:
        await fetch.resolve(at(hub), identity)
    assert "canary" not in caught.value.message
