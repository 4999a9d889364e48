"""What one look at the mounts has found, and the exit code that it can lead to.

`volume` and `catalog` make a sight, `waiting` decides what follows from it. No file is read here.

These are named tuples because the import of dataclasses takes 1.5 MiB.
"""

from enum import IntEnum
from typing import NamedTuple


class ExitCode(IntEnum):
    """The exit codes of `wait`. docs/workers.md lists them, argparse ends with 2, and a shell shows SIGTERM as 143."""

    THERE = 0
    TIMED_OUT = 1
    WRONG_USAGE = 2
    VOLUME_UNREADABLE = 3
    CATALOG_UNREADABLE = 4
    TERMINATED = 143


class There(NamedTuple):
    """All files are there. `path` is the one to load, with the mount."""

    path: str


class Missing(NamedTuple):
    """`what` is not there yet, as a noun for a line of the log."""

    what: str


class Unreadable(NamedTuple):
    """`problem` keeps the program from looking; `code` is how it ends if that lasts."""

    problem: str
    code: ExitCode


Sight = There | Missing | Unreadable
