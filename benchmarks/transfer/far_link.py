"""A link between two network devices: `python -m benchmarks.transfer.far_link DEVICE DEVICE SECONDS LOSS SEED`.

Makes two TUN devices and carries each packet from one to the other SECONDS later, or drops it with probability LOSS, as
netem does. SEED decides which packets of the sequence are lost. Prints a line when the devices exist; runs until it is
killed.
"""

import contextlib
import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

_TUNSETIFF = 0x400454CA  # linux/if_tun.h, as are the flags
_IFF_TUN_NO_PI = 0x0001 | 0x1000
_LARGEST_PACKET = 65536
_AT_ONCE = 64  # packets to read before the due ones are written


def device(name: str) -> int:
    """The descriptor of a new TUN device, which is removed when the descriptor is closed."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN_NO_PI))
    return fd


class Line:
    """One direction of the link. `seconds` is the delay, `loss` the probability that a packet is dropped."""

    def __init__(self, source: int, sink: int, seconds: float, loss: float, chance: random.Random) -> None:
        self.source = source
        self._sink = sink
        self._seconds = seconds
        self._loss = loss
        self._chance = chance
        self._on_the_way: deque[tuple[float, bytes]] = deque()

    @property
    def due(self) -> float | None:
        return self._on_the_way[0][0] if self._on_the_way else None

    def take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                packet = os.read(self.source, _LARGEST_PACKET)
            except BlockingIOError:
                return
            if self._chance.random() >= self._loss:
                self._on_the_way.append((time.monotonic() + self._seconds, packet))

    def deliver(self) -> None:
        now = time.monotonic()
        while self._on_the_way and self._on_the_way[0][0] <= now:
            packet = self._on_the_way.popleft()[1]
            # The first device that is up sends packets of IPv6 while the other is still down.
            with contextlib.suppress(OSError):
                os.write(self._sink, packet)


def carry(lines: tuple[Line, ...]) -> None:
    sources = {line.source: line for line in lines}
    while True:
        due = min((line.due for line in lines if line.due is not None), default=None)
        patience = None if due is None else max(0.0, due - time.monotonic())
        for source in select.select(list(sources), [], [], patience)[0]:
            sources[source].take()
        for line in lines:
            line.deliver()


def main() -> None:
    near, far, seconds, loss, seed = sys.argv[1:]
    one, other = device(near), device(far)
    print("ready", flush=True)
    delay, chance = float(seconds), random.Random(int(seed))
    carry((Line(one, other, delay, float(loss), chance), Line(other, one, delay, float(loss), chance)))


if __name__ == "__main__":
    main()
