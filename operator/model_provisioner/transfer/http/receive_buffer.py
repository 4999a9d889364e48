"""Limits what the kernel receives ahead of a download over a short path.

Called by `curl_request` for each connection. Linux lets the buffer of a connection grow to `tcp_rmem` (32 MiB since
6.16) whenever the reader is slower than the sender. On a short path that brings no speed, and what lies there when a
worker is killed was sent in vain: up to half a gigabyte over 16 connections. A long path needs it.
"""

import socket

NEAR_SECONDS = 0.01
"""Of a round trip: a path is short below this. A connection with BYTES brings 100 MiB/s over it."""
BYTES = 1024 * 1024
_SIZE = (socket.SOL_SOCKET, socket.SO_RCVBUF)


def limit(descriptor: int) -> None:
    """Limits the buffer of the connected socket `descriptor`; -1: there is none.

    Does nothing if `net.core.rmem_max` does not allow BYTES, because the limit would be as low: the kernels with such a
    default let buffers grow to a few MiB only.
    """
    if descriptor < 0 or not _is_allowed():
        return
    connection = socket.socket(fileno=descriptor)
    try:
        connection.setsockopt(*_SIZE, BYTES)
    finally:
        connection.detach()  # libcurl closes it


def _is_allowed() -> bool:
    with socket.socket() as probe:
        probe.setsockopt(*_SIZE, BYTES)
        return probe.getsockopt(*_SIZE) >= BYTES
