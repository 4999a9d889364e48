"""What people with a cluster are told beyond an error's own words: how a token is given, and what brings the next try.

An error's words are the same for a person without a cluster. What only a cluster has is said here, once for
all errors, so that none that waits for somebody forgets to say for what. `domain.snapshot` asks.
"""

from collections.abc import Mapping

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.errors import ClaimNotMounted, ProvisionError

MESSAGE_LIMIT = 1024
"""Characters of a message in a status."""

_WHERE_TO_GIVE_IT = " (in a Secret that credentialsSecretRef names)"
_BEFORE_FETCHING = f"the next try comes when the spec is corrected, or the annotation {RECONCILE_AT} is set"
_SINCE_FETCHING = (
    "`modelRef`, `digest` and `endpoint` can no longer be changed: delete this ModelDownload and create another, or "
    f"put the cause right and annotate this one with {RECONCILE_AT}"
)
_OF: Mapping[type[ProvisionError], str] = {
    ClaimNotMounted: (
        "`destination` cannot be changed, so another claim takes another ModelDownload; "
        "this one is tried again when the operator starts with its claim"
    ),
}


def with_advice(error: ProvisionError, *, begun: bool, tried_again: bool) -> str:
    """The message of `error` for a status.

    `begun` says that fetching has, from which on what identifies the bytes is fixed; `tried_again`, that the
    next try comes by itself. An error that names the annotation itself has said what is to be done first.
    """
    message = error.message + (_WHERE_TO_GIVE_IT if error.wants_token else "")
    if tried_again or RECONCILE_AT in message:
        return message
    step = _OF.get(type(error)) or (_SINCE_FETCHING if begun else _BEFORE_FETCHING)
    return f"{message[: MESSAGE_LIMIT - len(step) - 2]}; {step}"
