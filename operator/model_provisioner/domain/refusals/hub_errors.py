"""Maps an error response of a Hugging Face hub to an error of ours, with what the user can do about it.

`transfer.sources.huggingface` calls this for metadata requests, `transfer.download.requests.remote_file` for
`/resolve/`. The order matters: the error code is checked before the message and the status, because one status has
several meanings. A message that is not one of the known ones is shown, because a hub or a proxy says more in it than
its status does. It is untrusted: it is made short, printable and free of secrets first. Source: huggingface_hub 2.4,
utils/_http.py `hf_raise_for_status`.
"""

import contextlib
import re
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
from model_provisioner.domain.refusals.retry_after import retry_after

_MAX_SHOWN = 200  # characters of the hub's message
_QUERY = re.compile(r"\?\S*=\S*")  # a signed URL has its signature there
_TOKEN = re.compile(r"\b(hf_)\w{8,}|\b(Bearer |Basic )\S+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HubRequest:
    """What was requested.

    `subject` names the repository or file in messages, `page` is the URL of its web page. `authenticated` is True if a
    token was sent. `withheld`: the hub may have the token, and it was not sent, because a redirect had led elsewhere.
    """

    subject: str
    page: str
    authenticated: bool
    withheld: bool = False


def hub_error(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    """The error for a response with `status`, which is not a success.

    `headers` is case-insensitive; `now` is in seconds since the epoch.
    """
    if request.withheld and status in _BY_STATUS:
        return _withheld(request)
    said = headers.get("X-Error-Message", "")
    known = _BY_CODE.get(headers.get("X-Error-Code", "")) or _BY_MESSAGE.get(said)
    if known:
        return known(request, "")
    explain = _BY_STATUS.get(status)
    return explain(request, _quoted(said)) if explain else _temporary(status, headers, request, now)


def access_not_granted(request: HubRequest) -> ProvisionError:
    """The error for a gated repository that the caller may list but not read."""
    visit = f"visit {request.page}, accept the conditions"
    if request.authenticated:
        return LicenseNotAccepted(f"{request.subject} is gated and the token's account was not granted access: {visit}")
    return LicenseNotAccepted(f"{request.subject} is gated: {visit}, and give that account's token", wants_token=True)


def _gated(request: HubRequest, _said: str) -> ProvisionError:
    return access_not_granted(request)


def _no_revision(request: HubRequest, _said: str) -> ProvisionError:
    return SourceNotFound(f"{request.subject} has no such revision: check the branch, tag or commit after @")


def _no_file(request: HubRequest, _said: str) -> ProvisionError:
    return SourceNotFound(f"{request.subject} has no such file at this revision: look at {request.page}/tree/main")


def _disabled(request: HubRequest, _said: str) -> ProvisionError:
    return AccessDenied(f"{request.subject} was disabled by the hub: see {request.page} and choose another model")


def _unauthorized(request: HubRequest, said: str) -> ProvisionError:
    """A hub answers 401 to a request without a token for a repository that does not exist, or is private."""
    if not request.authenticated:
        return _not_found(request, said)
    return AccessDenied(
        f"the hub does not accept the token that was sent for {request.subject}: {_clause(said)}"
        "it is wrong, expired or revoked; give a valid one",
        wants_token=True,
    )


def _not_found(request: HubRequest, said: str) -> ProvisionError:
    if request.authenticated:
        return SourceNotFound(
            f"{request.subject} does not exist, or the token's account may not see it: {_clause(said)}"
            "check the spelling and the token"
        )
    return SourceNotFound(
        f"{request.subject} does not exist, or is private: {_clause(said)}"
        "check the spelling, or give a token that may read it",
        wants_token=True,
    )


def _withheld(request: HubRequest) -> ProvisionError:
    return AccessDenied(
        f"the hub redirects by way of another host, after which the token was not sent for {request.subject}: "
        "check the endpoint, because a host in between must not choose what is read with a token"
    )


def _forbidden(request: HubRequest, said: str) -> ProvisionError:
    step = "check the permissions of the token" if request.authenticated else f"see {request.page}"
    return AccessDenied(f"the hub refuses access to {request.subject} (403): {_clause(said)}{step}")


def _temporary(status: int, headers: Mapping[str, str], request: HubRequest, now: float) -> ProvisionError:
    wait, said = retry_after(headers, now), _quoted(headers.get("X-Error-Message", ""))
    reason = f": {said}" if said else ""
    if status != 429:
        return SourceUnavailable(f"the hub answered {status} when asked for {request.subject}{reason}", wait)
    limited = f"the hub limits how often {request.subject} is asked for (429)"
    if request.authenticated:
        return RateLimited(f"{limited}{reason}", wait)
    return RateLimited(f"{limited}: {_clause(said)}a token raises the limit", wait, wants_token=True)


def _clause(said: str) -> str:
    return f"{said}; " if said else ""


def _quoted(said: str) -> str:
    """The hub's message in quotes, in one line without secrets; "" if it has none. A header is read as Latin-1."""
    with contextlib.suppress(UnicodeError):
        said = said.encode("latin-1").decode()
    line = _TOKEN.sub(r"\1\2…", _QUERY.sub("", " ".join(said[: 10 * _MAX_SHOWN].split())))
    shown = line if len(line) <= _MAX_SHOWN else line[: _MAX_SHOWN - 1] + "…"
    return f"'{''.join(char if char.isprintable() else _REPLACEMENT for char in shown)}'" if shown else ""


_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_Explain = Callable[[HubRequest, str], ProvisionError]
_BY_CODE: Mapping[str, _Explain] = {
    "GatedRepo": _gated,
    "RevisionNotFound": _no_revision,
    "EntryNotFound": _no_file,
    "RepoNotFound": _not_found,
}
_BY_MESSAGE: Mapping[str, _Explain] = {
    "Invalid credentials in Authorization header": _unauthorized,
    "Invalid username or password.": _unauthorized,
    "Access to this resource is disabled.": _disabled,
}
_BY_STATUS: Mapping[int, _Explain] = {401: _unauthorized, 403: _forbidden, 404: _not_found}
