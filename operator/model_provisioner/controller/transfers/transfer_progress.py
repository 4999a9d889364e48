"""How far a transfer is, in the events that its members get. Used by `shared_transfer` alone.

It turns the answers of a worker into events, with speed and remaining time, and counts the received bytes. When a fetch
begins and which members are told is not decided here.
"""

from collections.abc import Callable

from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.domain.lifecycle.events import Event, Progressed, Verifying
from model_provisioner.domain.lifecycle.speed import Meter
from model_provisioner.worker_protocol import messages


class TransferProgress:
    """`done` bytes are on the volume when the transfer begins; `monotonic` is in seconds.

    The received bytes are counted for `namespace`.
    """

    def __init__(self, done: int, namespace: str, metrics: Metrics, monotonic: Callable[[], float]) -> None:
        self.done = done
        """In bytes."""
        self._namespace = namespace
        self._metrics = metrics
        self._monotonic = monotonic
        self._restarts = 0
        self.begin("")

    def begin(self, origin: str) -> None:
        """A fetch begins. `origin` is where its bytes are copied from; it is shown until bytes come from the source."""
        self._origin = origin
        self._of_source = 0
        self._meter = Meter(self._monotonic(), self.done)
        self._count_received = self._metrics.received_counter(self._namespace)
        self._count_copied = self._metrics.copied_counter(self._namespace)

    def copying(self) -> Event:
        """What is told before the first byte of a copy."""
        return Progressed(self.done, self._restarts, None, None, None, self._origin)

    def advanced(self, answer: messages.Progress | messages.VerifyingAnswer) -> Event:
        """The event of `answer`, after its bytes are counted."""
        self.count(answer)
        of_source = answer.received - answer.copied
        is_copied, self._of_source = of_source == self._of_source, of_source
        if isinstance(answer, messages.VerifyingAnswer):
            self.done = answer.total
            return Verifying(answer.bytes, answer.total)
        self.done, self._restarts = answer.bytes, answer.restarts
        self._meter = self._meter.observe(self._monotonic(), answer.bytes)
        rate = None if self._meter.rate is None else round(self._meter.rate)
        left = self._meter.seconds_left(answer.total)
        origin = self._origin if is_copied else ""
        return Progressed(answer.bytes, answer.restarts, rate, left, answer.wait, origin)

    def count(self, answer: messages.Progress | messages.VerifyingAnswer | messages.Published) -> None:
        """Counts what has come since the fetch began, from its source and from the operator."""
        self._count_received(answer.received - answer.copied)
        self._count_copied(answer.copied)

    def discarded(self) -> Event:
        """The bytes are gone: the next fetch begins anew."""
        self.done = 0
        return Progressed(0, self._restarts + 1, None, None)
