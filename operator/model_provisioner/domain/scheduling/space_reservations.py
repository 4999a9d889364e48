"""Whether another download fits beside those that run: what they will still write is room that is not free.

Kept by the controller, one for each volume. Downloads that are suspended, stalled or queued reserve
nothing, so that what waits never keeps out what could run.
"""

from collections.abc import Iterable

from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.space import Room

HEADROOM = 4 * 1024**2
"""Bytes beside the models' own: journals, records, and the blocks that a file system rounds up to."""


def wait_reason(room: Room, remaining: Iterable[int]) -> str | None:
    """Why a download that needs `room` waits for running ones, which will still write `remaining` bytes each.

    None where it need not: it fits beside them, or none runs. Then the volume itself says whether it is
    too small, since there is nothing that waiting could change.
    """
    reserved = sum(remaining)
    if not reserved or room.needed + reserved + HEADROOM <= room.free:
        return None
    return (
        f"waiting for room: {format_bytes(room.needed)} are needed, and of the volume's {format_bytes(room.free)} free "
        f"running downloads will take {format_bytes(reserved)}"
    )
