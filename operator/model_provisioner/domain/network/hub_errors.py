"""What a Hugging Face hub means by a refusal, and what the user can do about it.

Called with the status and headers of any answer that is not a success: by the resolver for metadata,
by the transfer for `/resolve/`. The order matters: the error code comes before the status, because
one status means several things. Source: huggingface_hub 2.4, utils/_http.py `hf_raise_for_status`.
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
    """What was asked: `subject` names it, `page` is for people to visit; `authenticated`: a token was sent."""

    subject: str
    page: str
    authenticated: bool


def hub_error(status: int, headers: Mapping[str, str], asked: HubRequest, now: float) -> ProvisionError:
    """The error that an answer with `status` (not a success) stands for.

    `headers` ignore case; `now` is in seconds since the epoch.
    """
    explain = (
        _BY_CODE.get(headers.get("X-Error-Code", ""))
        or _BY_MESSAGE.get(headers.get("X-Error-Message", ""))
        or _BY_STATUS.get(status)
    )
    return explain(asked) if explain else _passing(status, headers, asked, now)


def _gated(asked: HubRequest) -> ProvisionError:
    visit = f"visit {asked.page}, accept the conditions"
    if asked.authenticated:
        return LicenseNotAccepted(f"{asked.subject} is gated and the token's account was not granted access: {visit}")
    return LicenseNotAccepted(f"{asked.subject} is gated: {visit}, and give that account's token", wants_token=True)


def _no_revision(asked: HubRequest) -> ProvisionError:
    return SourceNotFound(f"{asked.subject} has no such revision: check the branch, tag or commit after @")


def _no_file(asked: HubRequest) -> ProvisionError:
    return SourceNotFound(f"{asked.subject} has no such file at this revision: look at {asked.page}/tree/main")


def _bad_token(asked: HubRequest) -> ProvisionError:
    return AccessDenied(
        f"the hub does not accept the token that was sent for {asked.subject}: it is wrong, expired or revoked; "
        "give a valid one",
        wants_token=True,
    )


def _disabled(asked: HubRequest) -> ProvisionError:
    return AccessDenied(f"{asked.subject} was disabled by the hub: see {asked.page} and choose another model")


def _not_found(asked: HubRequest) -> ProvisionError:
    if asked.authenticated:
        return SourceNotFound(
            f"{asked.subject} does not exist, or the token's account may not see it: check the spelling and the token"
        )
    return SourceNotFound(
        f"{asked.subject} does not exist, or is private: check the spelling, or give a token that may read it",
        wants_token=True,
    )


def _forbidden(asked: HubRequest) -> ProvisionError:
    return AccessDenied(f"the hub refuses access to {asked.subject} (403): check the permissions of the token")


def _passing(status: int, headers: Mapping[str, str], asked: HubRequest, now: float) -> ProvisionError:
    wait = retry_after(headers, now)
    if status == 429:
        limited = f"the hub limits how often {asked.subject} is asked for (429)"
        if asked.authenticated:
            return RateLimited(limited, wait)
        return RateLimited(f"{limited}: a token raises the limit", wait, wants_token=True)
    return SourceUnavailable(f"the hub answered {status} when asked for {asked.subject}", wait)


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
