"""When the next try is due after an error, and whether there is one. Pure: the random number is an argument."""

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

_LONGEST_ASKED_SECONDS = 3600.0
_VOLUME_SECONDS = 60.0
_SLOW_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Backoff:
    """Pauses in seconds that double from `first` to `longest`."""

    first: float
    longest: float

    def seconds(self, failures: int) -> float:
        """The pause after `failures` in a row, at least one."""
        doubled: float = self.first * 2 ** min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return min(doubled, self.longest)

    def jittered(self, failures: int, random: float) -> float:
        """Half of the pause is random, so that many that failed together do not come back together; 0..1 `random`."""
        return self.seconds(failures) * (0.5 + 0.5 * random)


_DOWNLOADS = Backoff(first=1.0, longest=300.0)
_MOST_DOUBLINGS = 16  # enough for any `longest`, and no overflow

# Somebody may put these right without touching the object: a licence is granted, a file uploaded, a volume mounted.
_VOLUME_AWAY = (VolumeChanged, VolumeNotWritable, VolumeUnsuitable)
_MENDABLE = (
    AccessDenied,
    LicenseNotAccepted,
    SourceNotFound,
    SecretNotFound,
    TLSVerificationFailed,
    AmbiguousModel,
    IncompleteModel,
    PathConflict,
    AddressNotAllowed,  # a name may lead elsewhere for a while
)


def pause(error: ProvisionError, failures: int, random: float) -> float | None:
    """Seconds until the next try after `failures` in a row, the last with `error`; None: the object must change.

    `random` is in 0..1. What fetches every byte again before it can fail again (a wrong digest, no GGUF
    file) is not tried by itself.
    """
    if isinstance(error, Retryable):
        return delay(failures, error.retry_after, random)
    if isinstance(error, _VOLUME_AWAY):
        return _VOLUME_SECONDS
    return _SLOW_SECONDS * (1 + random) if isinstance(error, _MENDABLE) else None


def delay(failures: int, retry_after: float | None, random: float) -> float:
    """Seconds before try number `failures` + 1; `random` is in 0..1.

    Doubles from one second to five minutes, with half of it jittered so that many objects do not
    come back at once. What the other side asked for (`retry_after`) is a lower bound, up to an hour; who has to ask
    for it again and again is come back to over a longer and longer time.
    """
    jittered = _DOWNLOADS.jittered(failures, random)
    if retry_after is None:
        return jittered
    return max(jittered, min(retry_after, _LONGEST_ASKED_SECONDS) + _DOWNLOADS.seconds(failures) * random)
