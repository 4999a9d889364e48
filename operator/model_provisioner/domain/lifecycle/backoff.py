"""Decides when a failed operation is retried, and whether it is.

`controller.reconcile.reconciler` asks for downloads; other parts use `Backoff` with their own limits. The random number
is an argument, so that tests decide it.
"""

from dataclasses import dataclass

from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    AmbiguousModel,
    IncompleteModel,
    LicenseNotAccepted,
    PathConflict,
    ProvisionError,
    Retryable,
    SecretNotFound,
    SourceNotFound,
    TLSVerificationFailed,
    VolumeChanged,
    VolumeNotWritable,
    VolumeUnsuitable,
)

_MAX_RETRY_AFTER_SECONDS = 3600.0
_VOLUME_SECONDS = 60.0
_SLOW_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double from `first` up to `longest`."""

    first: float
    longest: float

    def seconds(self, failures: int) -> float:
        """The pause in seconds after `failures` in a row, at least one."""
        doubled: float = self.first * 2 ** min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(doubled, self.longest)

    def jittered(self, failures: int, random: float) -> float:
        """The pause with half of it random, so that clients that failed together do not retry together.

        `random` is in 0..1.
        """
        return self.seconds(failures) * (0.5 + 0.5 * random)


_DOWNLOADS = Backoff(first=1.0, longest=300.0)
_MOST_DOUBLINGS = 16  # enough for any `longest`, and no overflow

# These can go away without a change of the object: a licence is granted, a file uploaded, a volume mounted.
_VOLUME = (VolumeChanged, VolumeNotWritable, VolumeUnsuitable)
_EXTERNAL = (
    AccessDenied,
    LicenseNotAccepted,
    SourceNotFound,
    SecretNotFound,
    TLSVerificationFailed,
    AmbiguousModel,
    IncompleteModel,
    PathConflict,
    AddressNotAllowed,  # a name may resolve to another address for a while
)


def pause(error: ProvisionError, failures: int, random: float, *, in_pod: bool = False) -> float | None:
    """Seconds until the next try after `failures` in a row, the last with `error`; None if there is no next try.

    `random` is in 0..1. An error that comes only after every byte was fetched (a wrong digest, no GGUF model) is not
    retried, because each try would cost a whole download. `in_pod`: each try starts a worker pod, which lives for a
    minute; with shorter pauses it would never end.
    """
    if isinstance(error, Retryable):
        return delay(failures, error.retry_after, random)
    if isinstance(error, _VOLUME) and not in_pod:
        return _VOLUME_SECONDS
    return _SLOW_SECONDS * (1 + random) if isinstance(error, _EXTERNAL + _VOLUME) else None


def delay(failures: int, retry_after: float | None, random: float) -> float:
    """Seconds before try number `failures` + 1; `random` is in 0..1.

    The delay doubles from one second to five minutes, and half of it is random, so that objects do not retry at once.
    `retry_after`, what the server asked for in seconds, is a lower bound, up to an hour. With each failure the retries
    spread over a longer time after it.
    """
    jittered = _DOWNLOADS.jittered(failures, random)
    if retry_after is None:
        return jittered
    return max(jittered, min(retry_after, _MAX_RETRY_AFTER_SECONDS) + _DOWNLOADS.seconds(failures) * random)
