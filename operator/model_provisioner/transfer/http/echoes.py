"""Takes secrets that a source sends back out of errors, before they leave the resolver or the engine.

`transfer.sources.resolver` and `transfer.download.engine` use this, because every error goes through one of them, on
its way to a status, an Event, a log or a terminal. How a secret is found is decided in `domain.network.redaction`.
"""

import contextlib
from collections.abc import Callable, Iterator

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.network.redaction import Redaction


@contextlib.contextmanager
def redacted_errors(redaction: Redaction | Callable[[], Redaction]) -> Iterator[None]:
    """Hides the secrets in the message of an exception, and in those that caused it: a traceback shows them all.

    A function is called when there is an exception, if the secrets are not known before.
    """
    try:
        yield
    except Exception as error:
        known = redaction if isinstance(redaction, Redaction) else redaction()
        for one in _chain(error):
            _redact(one, known)
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
            waiting += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            yield one


def _redact(error: BaseException, redaction: Redaction) -> None:
    error.args = tuple(redaction.text(arg) if isinstance(arg, str) else arg for arg in error.args)
    if isinstance(error, ProvisionError):
        error.message = redaction.text(error.message)
