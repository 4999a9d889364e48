"""How long a source may take until its answer begins (`responseTimeout`), and the deadlines that follow from it.

A caching proxy fetches a file itself before it sends the first byte. The HTTP client, the resolver process and the
operator wait as long as this says. The silence that is allowed between two bytes does not belong here.
"""

from model_provisioner.domain.errors import TransferStalled

DEFAULT_RESPONSE_SECONDS = 90.0
MAX_RESPONSE_SECONDS = 3600
_SLOW_ANSWERS = 2  # metadata, and the access check of a gated repository
_OTHER_SECONDS = 45.0
_PROCESS_SECONDS = 15.0


def parse_response_timeout(text: str) -> float:
    """A whole number of seconds, 1 to 3600. Raises ValueError with a message for users."""
    seconds = int(text) if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_RESPONSE_SECONDS)) else 0
    if not 1 <= seconds <= MAX_RESPONSE_SECONDS:
        raise ValueError(f"{text[:20]!r} is not a number of seconds from 1 to {MAX_RESPONSE_SECONDS}")
    return float(seconds)


def resolve_seconds(response_timeout: float) -> float:
    """The deadline of all requests that resolve one ref: two slow answers, and the time for connections and bodies."""
    return _SLOW_ANSWERS * response_timeout + _OTHER_SECONDS


def resolve_call_seconds(response_timeout: float) -> float:
    """How long the operator waits for the resolver process, which reports its own deadline before that."""
    return resolve_seconds(response_timeout) + _PROCESS_SECONDS


def no_answer(origin: object, response_timeout: float) -> TransferStalled:
    """The error if `origin` did not begin to answer within `response_timeout` seconds."""
    return TransferStalled(
        f"{origin} did not begin to answer within {response_timeout:g} seconds: if it is a proxy that first fetches "
        "what it is asked for, allow it more time (responseTimeout, or fetch --timeout)"
    )
