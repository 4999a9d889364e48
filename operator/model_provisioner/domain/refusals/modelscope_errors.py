"""Maps an error of ModelScope to an error of ours, with what the user can do about it.

`transfer.clients.hubs.modelscope_client` calls this. One status has several meanings, which the `Code` in the body
tells apart: a repository that does not exist and one without access are both 404. Nothing else in a body is shown.
"""

from collections.abc import Mapping

from model_provisioner.domain.errors import AccessDenied, ProvisionError, SourceNotFound, SourceUnavailable
from model_provisioner.domain.refusals.http_errors import http_error
from model_provisioner.domain.refusals.hub_errors import HubRequest

NOT_FOUND = 10010205001
NO_ACCESS = 10010200001


def modelscope_error(
    status: int, code: int | None, headers: Mapping[str, str], request: HubRequest, now: float
) -> ProvisionError:
    """The error for an answer with `status` and `code`, of which one says that it is a refusal.

    `headers` is case-insensitive; `now` is in seconds since the epoch. `request.page` is the origin.
    """
    if code == NOT_FOUND and not request.withheld:
        return _not_found(request)
    if code == NO_ACCESS and not request.withheld:
        return no_access(request)
    if status < 400:
        return SourceUnavailable(f"{request.page} refuses {request.subject} with the code {code}")
    return http_error(status, headers, request, now)


def no_access(request: HubRequest) -> AccessDenied:
    """The error for a repository or a file that the caller may not read."""
    if request.authenticated:
        return AccessDenied(
            f"{request.page} gives no access to {request.subject} with the token that was sent: ask the owner of the "
            "repository for access, or give the token of an account that has it"
        )
    return AccessDenied(
        f"{request.page} gives no access to {request.subject} without a token: give one of an account that has access",
        wants_token=True,
    )


def bad_token(request: HubRequest) -> AccessDenied:
    """The error for a token that the hub does not know. Public repositories are served in spite of it."""
    return AccessDenied(
        f"{request.page} does not accept the token that was sent for {request.subject}: it is wrong, expired or "
        "revoked; give a valid one",
        wants_token=True,
    )


def _not_found(request: HubRequest) -> SourceNotFound:
    if request.authenticated:
        return SourceNotFound(
            f"{request.subject} does not exist on {request.page}, or the token's account may not see it: check the "
            "spelling, the revision and the token"
        )
    return SourceNotFound(
        f"{request.subject} does not exist on {request.page}, or is private: check the spelling and the revision, or "
        "give a token that may read it",
        wants_token=True,
    )
