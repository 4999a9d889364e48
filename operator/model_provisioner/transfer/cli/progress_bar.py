"""The progress of `model-provisioner fetch`: a bar on a terminal, else a line every ten seconds. Used by `fetch`."""

import shutil
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.lifecycle.speed import Meter
from model_provisioner.domain.quantity import format_bytes, format_duration, format_rate

_TERMINAL_SECONDS = 0.1
_PLAIN_SECONDS = 10.0
_BAR_WIDTH = 24
_CLEAR_LINE = "\r\x1b[K"


class ProgressBar:
    """A `job.Reporter` that writes to `out`, as a context manager.

    `monotonic` is in seconds. `max_done` is the highest number of bytes written so far, over all attempts.
    """

    def __init__(self, out: TextIO, monotonic: Callable[[], float]) -> None:
        self._out = out
        self._monotonic = monotonic
        self._terminal = out.isatty()
        self._interval = _TERMINAL_SECONDS if self._terminal else _PLAIN_SECONDS
        self._next = monotonic() + (0 if self._terminal else self._interval)
        self._meter: Meter | None = None
        self.max_done = 0

    def progress(self, done: int, total: int, restarts: int, received: int, wait: Wait | None = None) -> None:
        del restarts, received
        self.max_done = max(self.max_done, done)
        if not self._is_due():
            return
        now = self._monotonic()
        self._meter = self._meter.observe(now, done) if self._meter else Meter(now, done)
        left = self._meter.seconds_left(total)
        speed = f" · {format_rate(self._meter.rate)}" if self._meter.rate is not None else ""
        time = f" · {format_duration(left)} left" if left is not None else ""
        state = f" · {wait}" if wait else f"{speed}{time}"
        self._show(done, total, f"{format_bytes(done)} of {format_bytes(total)}{state}")

    def verifying(self, hashed: int, total: int, received: int) -> None:
        del received
        if self._is_due():
            self._show(hashed, total, f"verifying {format_bytes(hashed)} of {format_bytes(total)}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Clears the bar, so that the next output begins on an empty line."""
        if self._terminal:
            self._out.write(_CLEAR_LINE)
            self._out.flush()

    def _is_due(self) -> bool:
        if self._monotonic() < self._next:
            return False
        self._next = self._monotonic() + self._interval
        return True

    def _show(self, done: int, total: int, text: str) -> None:
        percent = done * 100 // max(total, 1)
        if self._terminal:
            filled = percent * _BAR_WIDTH // 100
            line = f"{'█' * filled}{'░' * (_BAR_WIDTH - filled)} {percent:3}% · {text}"
            self._out.write(_CLEAR_LINE + line[: shutil.get_terminal_size().columns - 1])
        else:
            self._out.write(f"{percent}% · {text}\n")
        self._out.flush()
