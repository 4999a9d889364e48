"""Errors that another process reported by name."""

from model_provisioner.domain.errors import (
    DigestMismatch,
    InternalError,
    ProvisionError,
    RateLimited,
    Retryable,
    Terminal,
    error_of,
)


def test_an_error_is_rebuilt_from_its_name() -> None:
    for root in (Retryable, Terminal):
        for cls in root.__subclasses__():
            again: ProvisionError = error_of(cls.__name__, "why", 3.0)
            assert (type(again), again.message, again.reason) == (cls, "why", cls.__name__)
    assert isinstance(error_of("NoSuchError", "why"), InternalError)
    limited = error_of("RateLimited", "why", 3.0)
    assert isinstance(limited, RateLimited)
    assert limited.retry_after == 3.0
    assert not isinstance(error_of("DigestMismatch", "why", 3.0), Retryable)
    assert issubclass(DigestMismatch, Terminal)
