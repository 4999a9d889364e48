"""Frames between the operator and a worker pod: each line arrives once and in order, over connections that are cut.

A frame is a head of 16 bytes and a line of `worker_protocol.codec` or nothing. The head has the number of the line and
the number of the last line that the sender has received (both unsigned, big endian). A line with a number is kept until
the other side confirms it, and is sent again over the next connection. A line with the number 0 may be lost; so
progress is sent. Without a line, a frame only confirms.

`Hello` and `Welcome` begin each connection. Used by `worker_pod` and `controller.workers`; no I/O here. What the lines
mean is not decided here.
"""

import struct
from collections import deque

import msgspec

SERVER_NAME = "model-provisioner-workers"
"""The name in the operator's certificate. The address that a pod connects to may be any."""
PATH = "/worker"
HEARTBEAT_SECONDS = 15.0
CUT_OFF_SECONDS = 600.0
"""How long a worker goes on with what it does while it has no connection, and how long the operator waits for it."""
LONGEST_ANSWER_BYTES = 2 * 1024**2
"""The longest line that a pod may send. The answer to Settle has the plan of a model, see `domain.lifecycle.limits`."""
LONGEST_GREETING_BYTES = 1024
END = "end"
"""The text message with which the operator ends a worker."""

_HEAD = struct.Struct(">QQ")
HEAD_BYTES = _HEAD.size


class Hello(msgspec.Struct, frozen=True):
    """The first message of a pod. `session` is the last one that it was in, of which it has `received` so many lines.

    `version` is that of the program.
    """

    version: str
    session: str = ""
    received: int = 0


class Welcome(msgspec.Struct, frozen=True):
    """The answer to Hello. Another `session` than that of the pod: its requests are of an operator that is gone.

    `epoch` is `leaseTransitions` of the operator's Lease. A worker accepts no older epoch than it has seen.
    """

    session: str
    epoch: int
    received: int = 0


def encode_greeting(greeting: Hello | Welcome) -> str:
    return msgspec.json.encode(greeting).decode()


def decode_hello(text: str) -> Hello:
    """Raises ValueError."""
    return msgspec.json.decode(text, type=Hello)


def decode_welcome(text: str) -> Welcome:
    """Raises ValueError."""
    return msgspec.json.decode(text, type=Welcome)


class Channel:
    """One side of a session. It outlives connections."""

    def __init__(self) -> None:
        self._sent = 0
        self._unconfirmed: deque[tuple[int, bytes]] = deque()
        self.received = 0
        """The number of the last line that has arrived."""

    @property
    def unconfirmed_bytes(self) -> int:
        """The size of the lines that the other side has not confirmed."""
        return sum(len(line) for _, line in self._unconfirmed)

    def pack(self, line: bytes) -> bytes:
        """The frame of a line that must arrive."""
        self._sent += 1
        self._unconfirmed.append((self._sent, line))
        return _HEAD.pack(self._sent, self.received) + line

    def pack_once(self, line: bytes) -> bytes:
        """The frame of a line that may be lost."""
        return _HEAD.pack(0, self.received) + line

    def confirmation(self) -> bytes:
        return _HEAD.pack(0, self.received)

    def unpack(self, frame: bytes) -> tuple[bytes, bool]:
        """The line of `frame`, which is empty if there is none, and whether it must be confirmed.

        Raises ValueError if the frame is not the next one.
        """
        if len(frame) < HEAD_BYTES:
            raise ValueError("a frame has no head")
        number, confirmed = _HEAD.unpack_from(frame)
        self._confirm(confirmed)
        if number:
            if number != self.received + 1:
                raise ValueError(f"line {number} follows line {self.received}")
            self.received = number
        return frame[HEAD_BYTES:], number > 0

    def resume(self, confirmed: int) -> list[bytes]:
        """The frames to send first over a new connection: `confirmed` lines have arrived before.

        Raises ValueError if the other side can't have received so many or so few.
        """
        if confirmed < self._sent - len(self._unconfirmed):
            raise ValueError(f"only {confirmed} lines have arrived, and more were confirmed")
        self._confirm(confirmed)
        return [_HEAD.pack(number, self.received) + line for number, line in self._unconfirmed]

    def _confirm(self, confirmed: int) -> None:
        if confirmed > self._sent:
            raise ValueError(f"line {confirmed} is confirmed, and {self._sent} were sent")
        if confirmed < self._sent - len(self._unconfirmed):
            return  # older than another confirmation
        while self._unconfirmed and self._unconfirmed[0][0] <= confirmed:
            self._unconfirmed.popleft()
