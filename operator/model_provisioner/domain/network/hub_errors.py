"""Maps an error response of a Hugging Face hub to an error of ours, with what the user can do about it.

`transfer.sources.huggingface` calls this for metadata requests, `transfer.download.remote_file` for `/resolve/`. The
order matters: the error code is checked before the message and the status, because one status has several meanings.
Source: huggingface_hub 2.4, utils/_http.py `hf_raise_for_status`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from model_provisioner.domain.errors import (
    AccessDenied,
    LicenseNotAccepted,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.network.retry_after import retry_after


@dataclass(frozen=True, slots=True)
class HubRequest:
    """What was requested.

    `subject` names the repository or file in messages, `page` is the URL of its web page. `authenticated` is True if a
    token was sent.
    """

    subject: str
    page: str
    authenticated: bool


def hub_error(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    """The error for a response with `status`, which is not a success.

    `headers` is case-insensitive; `now` is in seconds since the epoch.
    """
    explain = (
        _BY_CODE.get(headers.get("X-Error-Code", ""))
        or _BY_MESSAGE.get(headers.get("X-Error-Message", ""))
        or _BY_STATUS.get(status)
    )
    return explain(request) if explain else _temporary(status, headers, request, now)


def _gated(request: HubRequest) -> ProvisionError:
    visit = f"visit {request.page}, accept the conditions"
    if request.authenticated:
        return LicenseNotAccepted(f"{request.subject} is gated and the token's account was not granted access: {visit}")
    return LicenseNotAccepted(f"{request.subject} is gated: {visit}, and give that account's token", wants_token=True)


def _no_revision(request: HubRequest) -> ProvisionError:
    return SourceNotFound(f"{request.subject} has no such revision: check the branch, tag or commit after @")


def _no_file(request: HubRequest) -> ProvisionError:
    return SourceNotFound(f"{request.subject} has no such file at this revision: look at {request.page}/tree/main")


def _bad_token(request: HubRequest) -> ProvisionError:
    return AccessDenied(
        f"the hub does not accept the token that was sent for {request.subject}: it is wrong, expired or revoked; "
        "give a valid one",
        wants_token=True,
    )


def _disabled(request: HubRequest) -> ProvisionError:
    return AccessDenied(f"{request.subject} was disabled by the hub: see {request.page} and choose another model")


def _not_found(request: HubRequest) -> ProvisionError:
    if request.authenticated:
        return SourceNotFound(
            f"{request.subject} does not exist, or the token's account may not see it: check the spelling and the token"
        )
    return SourceNotFound(
        f"{request.subject} does not exist, or is private: check the spelling, or give a token that may read it",
        wants_token=True,
    )


def _forbidden(request: HubRequest) -> ProvisionError:
    return AccessDenied(f"the hub refuses access to {request.subject} (403): check the permissions of the token")


def _temporary(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    wait = retry_after(headers, now)
    if status == 429:
        limited = f"the hub limits how often {request.subject} is asked for (429)"
        if request.authenticated:
            return RateLimited(limited, wait)
        return RateLimited(f"{limited}: a token raises the limit", wait, wants_token=True)
    return SourceUnavailable(f"the hub answered {status} when asked for {request.subject}", wait)


_Explain = Callable[[HubRequest], ProvisionError]
_BY_CODE: Mapping[str, _Explain] = {
    "GatedRepo": _gated,
    "RevisionNotFound": _no_revision,
    "EntryNotFound": _no_file,
    "RepoNotFound": _not_found,
}
_BY_MESSAGE: Mapping[str, _Explain] = {
    "Invalid credentials in Authorization header": _bad_token,
    "Access to this resource is disabled.": _disabled,
}
_BY_STATUS: Mapping[int, _Explain] = {401: _not_found, 403: _forbidden, 404: _not_found}
