"""What asyncio transports lack: to wait until bytes were delivered, and to close with RST. Called by `faults`."""

import asyncio
import fcntl
import socket
import struct
import termios

_POLLS = 1000  # every 2 ms


async def delivered(transport: asyncio.Transport) -> None:
    """Waits until the kernel of the peer has all that was written, a few seconds at most: a client may not read.

    The TLS layer may fill an empty socket again on the next turn of the event loop, so the socket must be empty several
    times in a row.
    """
    empty = 0
    for _ in range(_POLLS):
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
