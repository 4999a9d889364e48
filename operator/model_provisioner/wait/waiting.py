"""Looks again until a model is there, and says meanwhile what it waits for. `command` calls it.

The looks are those of `volume` and `catalog`. A poll is what works on every file system: an NFS client is not told of
what another machine writes.
"""

from collections.abc import Callable
from typing import NamedTuple

from model_provisioner.domain.quantity import format_duration
from model_provisioner.wait.sight import ExitCode, Missing, Sight, There, Unreadable

POLL_SECONDS = 0.5
_LINE_SECONDS = 10.0
PATIENCE_SECONDS = 30.0
"""How long an error of the mount may last: a server of NFS that restarts is no reason to fail."""


class Clock(NamedTuple):
    """`monotonic` is in seconds, `wall` is the time of day for people, `sleep` takes seconds."""

    monotonic: Callable[[], float]
    wall: Callable[[], str]
    sleep: Callable[[float], object]


def wait(look: Callable[[], Sight], timeout: float | None, clock: Clock, say: Callable[[str], object]) -> ExitCode:
    """Waits until `look` finds the model, or for `timeout` seconds; None waits without a limit.

    `say` gets a line at once, when what is waited for changes, and every 10 seconds.
    """
    begun, since = clock.monotonic(), clock.wall()
    readable_at = said_at = begun
    said: Sight | None = None
    while True:
        sight, now = look(), clock.monotonic()
        if isinstance(sight, There):
            say(f"{sight.path} is there, after {format_duration(now - begun)}")
            return ExitCode.THERE
        readable_at = readable_at if isinstance(sight, Unreadable) else now
        code = _end(sight, now - begun, now - readable_at, timeout)
        if code is not None or sight != said or now >= said_at + _LINE_SECONDS:
            say(_line(sight, since, now - begun, code))
            said, said_at = sight, now
        if code is not None:
            return code
        clock.sleep(POLL_SECONDS if timeout is None else min(POLL_SECONDS, timeout - (now - begun)))


def _end(sight: Sight, waited: float, unreadable: float, timeout: float | None) -> ExitCode | None:
    """The exit code after `waited` seconds, the last `unreadable` of which nothing could be read; None to go on."""
    if isinstance(sight, Unreadable) and unreadable >= PATIENCE_SECONDS:
        return sight.code
    return ExitCode.TIMED_OUT if timeout is not None and waited >= timeout else None


def _line(sight: Missing | Unreadable, since: str, waited: float, code: ExitCode | None) -> str:
    what = f"waiting for {sight.what}" if isinstance(sight, Missing) else sight.problem
    end = {ExitCode.TIMED_OUT: ": the time is over", None: ""}.get(code, ": given up")
    return f"{what}, since {since} ({format_duration(waited)}){end}"
