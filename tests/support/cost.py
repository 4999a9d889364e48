"""What a call costs, in bytes and in executed lines of code: the same on any machine, busy or not. Called by tests."""

import sys
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


@contextmanager
def traced_peak() -> Iterator[Callable[[], int]]:
    """Yields a function that returns, after the block, the most bytes that Python had allocated in it."""
    peak = 0
    tracemalloc.start()
    try:
        yield lambda: peak
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


@contextmanager
def counted_lines(package: str) -> Iterator[Callable[[], int]]:
    """Yields a function that returns how many lines of modules of `package` the block has executed, so far."""
    lines = 0
    before = sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if not frame.f_globals.get("__name__", "").startswith(package):
            return None
        lines += event == "line"
        return trace

    sys.settrace(trace)
    try:
        yield lambda: lines
    finally:
        sys.settrace(before)
