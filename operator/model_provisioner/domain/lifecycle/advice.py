"""Extends the message of an error, for the status of an object, with what the user can do in a cluster.

An error's own message also suits the command line. This adds how a token is given and what starts the next try, in one
place for all errors. `domain.lifecycle.snapshot` calls this.
"""

from collections.abc import Mapping

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.errors import ClaimNotMounted, ProvisionError
from model_provisioner.domain.lifecycle.limits import MAX_MESSAGE

_WHERE_TO_GIVE_IT = " (in a Secret that credentialsSecretRef names)"
_BEFORE_FETCHING = f"the next try comes when the spec is corrected, or the annotation {RECONCILE_AT} is set"
_SINCE_FETCHING = (
    "`modelRef`, `digest`, `endpoint` and `projector` can no longer be changed: delete this ModelDownload and create "
    f"another, or put the cause right and annotate this one with {RECONCILE_AT}"
)
_SPECIFIC: Mapping[type[ProvisionError], str] = {
    ClaimNotMounted: (
        "`destination` cannot be changed, so another claim takes another ModelDownload; "
        "this one is tried again when the operator starts with its claim"
    ),
}


def with_advice(error: ProvisionError, *, begun: bool, tried_again: bool) -> str:
    """The message of `error` for a status, at most `MAX_MESSAGE` characters if advice was added.

    `begun`: fetching has begun, so the fields that identify the bytes can no longer change. `tried_again`: the next try
    starts without the user. An error message that names the annotation already says what to do and gets no advice.
    """
    message = error.message + (_WHERE_TO_GIVE_IT if error.wants_token else "")
    if tried_again or RECONCILE_AT in message:
        return message
    step = _SPECIFIC.get(type(error)) or (_SINCE_FETCHING if begun else _BEFORE_FETCHING)
    return f"{message[: MAX_MESSAGE - len(step) - 2]}; {step}"
