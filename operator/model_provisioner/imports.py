"""Imports without garbage collection. `cli` and the commands use it around the imports that each start waits for."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def lasting() -> Iterator[None]:
    """Looks for no garbage within the block, nor among its objects later: what is imported lives until the exit.

    Imports make ten thousands of objects, and the collector looks at them again and again while their number grows.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
