"""What a transfer waits for while no byte comes.

`transfer.download.requests.connections` makes it, a Progress message carries it to the operator, and the status shows
it. How long a transfer may wait is not decided here.
"""

from dataclasses import dataclass

from model_provisioner.domain.quantity import format_duration

_STEP_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Wait:
    """No byte came from `origin` for `seconds`; `begun`: the answer has begun, so bytes came before."""

    origin: str
    seconds: int
    begun: bool

    @classmethod
    def of(cls, origin: str, seconds: float, *, begun: bool) -> "Wait | None":
        """In steps of five seconds, so that the status is not written every second; None for less than that."""
        steps = int(seconds) // _STEP_SECONDS
        return cls(origin, steps * _STEP_SECONDS, begun) if steps else None

    def __str__(self) -> str:
        """A clause for messages."""
        what = "no byte from" if self.begun else "waiting for the first byte from"
        return f"{what} {self.origin} for {format_duration(self.seconds)}"
