"""Starts nginx on sockets that it inherits: `python -m benchmarks.transfer.listen HOST RATE UNSENT PORT… -- nginx …`.

nginx can't pace a connection over several requests (its `limit_rate` sends the bytes of one second at once) and does
not set the congestion control. The kernel does both for a socket, and accepted sockets inherit the options of the
listening one. RATE is in bytes per second for each connection, UNSENT are the bytes that the kernel takes from nginx
before it can send them; 0 for no limit.
"""

import ctypes
import os
import signal
import socket
import sys

from deploy.local.processes import PR_SET_PDEATHSIG

_SO_MAX_PACING_RATE = 47  # asm-generic/socket.h; Python has no name for it
_TCP_NOTSENT_LOWAT = 25  # linux/tcp.h
_BACKLOG = 511


def listening(host: str, port: int, rate: int, unsent: int) -> socket.socket:
    """A listening socket with CUBIC, the default of Linux, whatever the setting of this machine."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"cubic")
    if rate:
        listener.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, rate)
    if unsent:
        listener.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, unsent)
    listener.bind((host, port))
    listener.listen(_BACKLOG)
    listener.set_inheritable(True)
    return listener


def main() -> None:
    split = sys.argv.index("--")
    (host, rate, unsent, *ports), command = sys.argv[1:split], sys.argv[split + 1 :]
    listeners = [listening(host, int(port), int(rate), int(unsent)) for port in ports]
    # SIGTERM, because the workers of nginx survive a master that is killed.
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    inherited = "".join(f"{listener.fileno()};" for listener in listeners)
    os.execvpe(command[0], command, os.environ | {"NGINX": inherited})


if __name__ == "__main__":
    main()
