"""Decides whether a download must wait because running downloads will use the free space.

`controller.transfers.reservations` calls this, with the running downloads of one volume. Downloads that are suspended,
stalled or queued reserve nothing: a download that waits must not keep out one that can run.
"""

from collections.abc import Iterable

from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.space import Room

HEADROOM = 4 * 1024**2
"""Bytes that a download uses beside the model itself: journals, records, and partly filled file system blocks."""


def wait_reason(room: Room, remaining: Iterable[int]) -> str | None:
    """Why a download that needs `room` must wait, as a message; None if it can start.

    `remaining` are the bytes that each running download still writes. If no download runs, waiting cannot help: the
    download starts, and `Room.check` reports a volume that is too small. It also starts if the free space is unknown.
    """
    reserved = sum(remaining)
    if not reserved or room.free is None or room.needed + reserved + HEADROOM <= room.free:
        return None
    return (
        f"waiting for room: {format_bytes(room.needed)} are needed, and of the volume's {format_bytes(room.free)} free "
        f"running downloads will take {format_bytes(reserved)}"
    )
