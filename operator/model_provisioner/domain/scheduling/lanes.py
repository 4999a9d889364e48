"""Decides in which lane a transfer runs.

Each lane has slots of its own, so that one kind of work never waits for another.
`controller.transfers.shared_transfer` asks for the lane of a transfer, `domain.stream` for that of an object. How many
transfers run in a lane is decided in `controller.workers.pool`, in which order in `domain.scheduling.queueing`.
"""

from enum import Enum, auto

SLOW_BYTES_PER_SECOND = 1024**2
"""A transfer whose own limit is lower uses so little that it does not count as a download."""


class Lane(Enum):
    """`FETCHING` is for downloads, `SLOW` for those that their own limit makes slow, `HASHING` for local files."""

    FETCHING = auto()
    SLOW = auto()
    HASHING = auto()


def lane_of(limit: int | None, *, local: bool) -> Lane:
    """The lane of a transfer with its own `limit` in bytes per second, None without one.

    `local` says that its files are on the volume and are only hashed.
    """
    if local:
        return Lane.HASHING
    return Lane.SLOW if limit is not None and limit < SLOW_BYTES_PER_SECOND else Lane.FETCHING
