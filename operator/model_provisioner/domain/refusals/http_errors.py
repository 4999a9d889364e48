"""Maps an error response of an ordinary HTTP server to an error of ours, with what the user can do about it.

`transfer.sources` calls this for requests that resolve a ref, `transfer.download.requests.remote_file` for those for
ranges. A Hugging Face hub has codes of its own: see `hub_errors`. Nothing that the server says in a body is shown here.
"""

from collections.abc import Mapping

from model_provisioner.domain.errors import (
    AccessDenied,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.refusals.retry_after import retry_after

_GONE = frozenset({404, 410})


def http_error(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    """The error for a response with `status`, which is not a success.

    `headers` is case-insensitive; `now` is in seconds since the epoch. `request.page` is the origin.
    """
    subject, host = request.subject, request.page
    if request.withheld and status in {401, 403, 404}:
        return AccessDenied(
            f"{host} redirects by way of another host, after which the credential was not sent for {subject}: "
            "name the address that it redirects to, and that host in the Secret"
        )
    if status in {401, 403}:
        return _refused(status, headers, request)
    if status in _GONE:
        return _absent(status, request)
    wait = retry_after(headers, now)
    if status != 429:
        return SourceUnavailable(f"{host} answered {status} when asked for {subject}", wait)
    limited = f"{host} limits how often it is asked (429)"
    if request.authenticated:
        return RateLimited(limited, wait)
    return RateLimited(f"{limited}: a credential may raise the limit", wait, wants_token=True)


def _absent(status: int, request: HubRequest) -> ProvisionError:
    """Some servers answer 404 to those who may not see a file."""
    missing = f"{request.subject} is not there ({status})"
    if request.authenticated:
        return SourceNotFound(f"{missing}, or not for this credential: check the address and the credential")
    return SourceNotFound(f"{missing}: check the address, or give a credential that may read it", wants_token=True)


def _refused(status: int, headers: Mapping[str, str], request: HubRequest) -> ProvisionError:
    scheme = headers.get("WWW-Authenticate", "").partition(" ")[0][:20]
    how = f" and asks for {scheme}" if scheme.isalnum() else ""
    if request.authenticated:
        return AccessDenied(
            f"{request.page} refuses {request.subject} with the credential that was sent ({status}){how}: it is wrong, "
            "expired, or may not read this file; give a valid one",
            wants_token=True,
        )
    return AccessDenied(
        f"{request.page} refuses {request.subject} without a credential ({status}){how}: give one that is for this "
        "host",
        wants_token=True,
    )
