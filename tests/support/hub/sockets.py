"""What asyncio does not offer on a connection: to know that bytes were delivered, and to end with RST."""

import asyncio
import fcntl
import socket
import struct
import termios

_LOOKS = 1000  # of 2 ms


async def delivered(transport: asyncio.Transport) -> None:
    """Waits (a few seconds at most: the client may not be reading) until the peer's kernel has what was written.

    The transport's lower layer may refill an empty socket on the next turn of the loop, hence several empty looks in a
    row.
    """
    empty = 0
    for _ in range(_LOOKS):
        empty = empty + 1 if transport.get_write_buffer_size() == 0 and _unacknowledged(transport) == 0 else 0
        if empty == 5:
            return
        await asyncio.sleep(0.002)


def _unacknowledged(transport: asyncio.Transport) -> int:
    peer: socket.socket = transport.get_extra_info("socket")
    (size,) = struct.unpack("i", fcntl.ioctl(peer.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return int(size)


def reset(transport: asyncio.Transport) -> None:
    """Closes with RST instead of FIN."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
