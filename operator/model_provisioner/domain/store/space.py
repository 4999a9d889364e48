"""How much space a model needs on a volume, and the error if there is less.

The store measures. `transfer.download.engine` checks before the first byte is fetched, and again when the volume is
full. Some file systems answer statvfs(3) and stat(2) with numbers that make no sense. Then the free space is unknown:
the download starts, and a write that fails decides.
"""

from dataclasses import dataclass

from model_provisioner.domain.errors import InsufficientStorage
from model_provisioner.domain.quantity import MAX_INT64, format_bytes

_BLOCK_BYTES = 512  # the unit of st_blocks on Linux, see stat(2)


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a volume: `free` may be written by an unprivileged user, `unheld` are in models that no object holds.

    `free` is None if it is unknown.
    """

    free: int | None
    unheld: int


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes: `needed` are still to be written, `free` may be written by an unprivileged user (None: unknown)."""

    needed: int
    free: int | None

    def check(self, ref: str) -> None:
        """Raises InsufficientStorage if the model does not fit."""
        if self.free is not None and self.needed > self.free:
            raise InsufficientStorage(
                f"{self._numbers(ref)}: delete models that are not needed, or enlarge the volume's claim"
            )

    def explain(self, ref: str, error: InsufficientStorage) -> InsufficientStorage:
        """`error`, which a write to the volume raised, with both numbers: a quota may be less than the free space."""
        return InsufficientStorage(f"{error.message} ({self._numbers(ref)})")

    def _numbers(self, ref: str) -> str:
        needed = f"{ref} needs {format_bytes(self.needed)} more and"
        if self.free is None:
            return f"{needed} the volume does not say how much is free"
        return f"{needed} the volume has {format_bytes(self.free)} free"


def free_bytes(block_size: int, blocks: int, free: int, available: int) -> int | None:
    """The bytes that an unprivileged user may write; None if the numbers make no sense.

    They are `f_frsize`, `f_blocks`, `f_bfree` and `f_bavail` of statvfs(3). A file system without this call answers 0
    to all; a negative number arrives as a huge one.
    """
    if block_size <= 0 or not 0 < blocks * block_size <= MAX_INT64:
        return None
    if not (0 <= free <= blocks and 0 <= available <= blocks):
        return None
    if available == 0 and free == blocks:  # nothing is used and nothing can be written
        return None
    return available * block_size


def occupied_bytes(size: int, blocks: int, durable: int) -> int:
    """How many of the `size` bytes of a sparse file are on the volume.

    `blocks` is `st_blocks` of stat(2), 0 on some file systems. `durable` bytes are known to be there.
    """
    return max(0, min(size, max(blocks * _BLOCK_BYTES, durable)))
