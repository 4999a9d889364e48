"""Writes a range of a published file to a Unix socket of the operator, which passes it on to a worker pod.

Called by `worker` in a thread of a process that sends and does nothing else: a volume that hangs holds up this process,
which the operator may kill, and not the operator. Which pod may have which file is decided in
`controller.workers.door.grants`.
"""

import contextlib
import os
import socket
import threading

from model_provisioner.transfer.worker.store_requests import StoreOpener
from model_provisioner.worker_protocol.messages import Send, Sent

_SECONDS = 60.0
"""How long the operator may take no byte. It ends a slow pod's request itself, and then closes the socket."""


class Sender:
    """Answers any number of Send requests at one time, each in a thread."""

    def __init__(self) -> None:
        self._opener = StoreOpener()
        self._locks: dict[str, threading.Lock] = {}

    def send(self, request: Send) -> Sent:
        """Returns when every byte is written, or the operator takes no more.

        Raises ProvisionError if there is no such file.
        """
        with os.fdopen(self._open(request), "rb", buffering=0) as file, socket.socket(socket.AF_UNIX) as listener:
            listener.settimeout(_SECONDS)
            with contextlib.suppress(OSError):  # the pod or the operator is gone; a volume's error cuts the answer, too
                listener.connect(request.socket)
                listener.sendall(request.key.encode())
                if request.start < request.stop:  # else it was asked whether the file is there
                    listener.sendfile(file, request.start, request.stop - request.start)
        return Sent(request.id)

    def _open(self, request: Send) -> int:
        """The requests to one volume take turns: they share what is known of its records."""
        lock = self._locks.setdefault(request.store.directory, threading.Lock())
        with lock, self._opener.open(request.store) as store:
            return store.files.open_copy(request.file)
