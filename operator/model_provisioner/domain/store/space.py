"""How much space a model needs on a volume, and the error if there is less.

The store measures. `transfer.download.engine` checks before the first byte is fetched, and again when the volume is
full.
"""

from dataclasses import dataclass

from model_provisioner.domain.errors import InsufficientStorage
from model_provisioner.domain.quantity import format_bytes


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of a volume: `free` may be written by an unprivileged user, `unheld` are in models that no object holds."""

    free: int
    unheld: int


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes: `needed` are still to be written, `free` may be written by an unprivileged user."""

    needed: int
    free: int

    def check(self, ref: str) -> None:
        """Raises InsufficientStorage if the model does not fit."""
        if self.needed > self.free:
            raise InsufficientStorage(
                f"{self._numbers(ref)}: delete models that are not needed, or enlarge the volume's claim"
            )

    def explain(self, ref: str, error: InsufficientStorage) -> InsufficientStorage:
        """`error`, which a write to the volume raised, with both numbers: a quota may be less than the free space."""
        return InsufficientStorage(f"{error.message} ({self._numbers(ref)})")

    def _numbers(self, ref: str) -> str:
        return f"{ref} needs {format_bytes(self.needed)} more and the volume has {format_bytes(self.free)} free"
