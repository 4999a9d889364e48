"""`model-provisioner fetch --worker-server`: a process that has imported all that a worker needs, and forks workers.

A forked worker starts in milliseconds, and shares the memory of the libraries with the server (copy-on-write). Fork
copies only the thread that calls it, and locks as they are: so this process has no other thread, no event loop and no
libcurl handle. libcurl and OpenSSL are initialised by the import alone, and OpenSSL seeds its generator again in a
child (RAND_DRBG(7), since 1.1.1).

The protocol is `worker_protocol.forking`. What a worker does is in `worker`. Called by `transfer.cli.command`.
"""

import contextlib
import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from dataclasses import dataclass

from model_provisioner.domain.credentials.ambient import Provider
from model_provisioner.transfer.http.client import NetworkSettings
from model_provisioner.transfer.sources import resolver
from model_provisioner.transfer.worker import worker
from model_provisioner.worker_protocol.forking import DESCRIPTORS, SERVER_PROCESS_NAME, Report, Role, report_line

_PR_SET_NAME = 15  # linux/prctl.h


@dataclass(frozen=True, slots=True)
class _Request:
    """A request of the operator; the numbers are descriptors."""

    role: Role
    stdin: int
    stdout: int
    report: int


def run(network: NetworkSettings, resolver_bytes: int, provider: Provider | None = None) -> int:
    """Forks workers until the end of standard input, and returns the exit code 0.

    `resolver_bytes` is the most memory of a resolver, and `provider` gives it an access key, see `worker.run`.
    """
    worker.die_with_parent()
    _set_process_name(SERVER_PROCESS_NAME)
    for kind in resolver.SOURCES:
        resolver.source_of(kind)  # so that workers share them
    _share_memory()
    with (
        socket.socket(fileno=os.dup(sys.stdin.fileno())) as requests,
        _Server(requests, network, resolver_bytes, provider) as one,
    ):
        one.serve()
    return 0


class _Server:
    """`requests` is the socket of the operator. Close it by leaving its context."""

    def __init__(
        self, requests: socket.socket, network: NetworkSettings, resolver_bytes: int, provider: Provider | None
    ) -> None:
        self._requests = requests
        self._network = network
        self._resolver_bytes = resolver_bytes
        self._provider = provider
        self._pid = os.getpid()
        self._reports: dict[int, socket.socket] = {}  # by the process id of the worker
        self._selector = selectors.DefaultSelector()
        self._woken, self._wakes = socket.socketpair()

    def __enter__(self) -> "_Server":
        self._wakes.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # without a handler nothing is written to the wake-up socket
        signal.set_wakeup_fd(self._wakes.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to the operator too, which ends this process
        self._selector.register(self._requests, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        self._selector.close()
        for opened in (self._woken, self._wakes, *self._reports.values()):
            opened.close()

    def serve(self) -> None:
        """Returns when the operator is gone. The kernel then kills the workers that are left, see `die_with_parent`."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    self._woken.recv(4096)
                    self._reap()
                elif key.fileobj is not self._requests:
                    self._kill(key.data)
                elif (request := self._receive()) is None:
                    return
                else:
                    self._fork(request)

    def _receive(self) -> _Request | None:
        """The next request; None at the end of input."""
        role, descriptors, _, _ = socket.recv_fds(self._requests, 1, DESCRIPTORS)
        return _Request(Role(role), *descriptors) if role else None

    def _fork(self, request: _Request) -> None:
        """Forks a worker, which reports that it has started; without one, the report ends."""
        report = socket.socket(fileno=request.report)
        try:
            pid = os.fork()
        except OSError as error:  # too many processes, or too little memory
            sys.stderr.write(f"no worker could be forked: {error}\n")
            report.close()
        else:
            if pid == 0:
                os._exit(self._work(request, report))
            self._reports[pid] = report
            self._selector.register(report, selectors.EVENT_READ, pid)
        os.close(request.stdin)
        os.close(request.stdout)

    def _kill(self, pid: int) -> None:
        """Kills a worker, because the operator has ended its direction of the report socket.

        `pid` cannot be that of another process, because this one was not waited for.
        """
        if report := self._reports.get(pid):
            self._selector.unregister(report)
            os.kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):  # there is none
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, status = ended
                with self._reports.pop(pid) as report:
                    with contextlib.suppress(KeyError):  # `_kill` has done it
                        self._selector.unregister(report)
                    _tell(report, Report.ENDED, os.waitstatus_to_exitcode(status))

    def _work(self, request: _Request, report: socket.socket) -> int:
        """Makes this process the worker of `request`. Returns its exit code."""
        try:
            self.__exit__()
            self._requests.close()
            for number, stream in enumerate((request.stdin, request.stdout)):
                os.dup2(stream, number)
                os.close(stream)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            worker.die_with_parent()
            if os.getppid() != self._pid:  # the server died before the kernel was told
                return 0
            _set_process_name(request.role.process_name)
            with report:
                _tell(report, Report.STARTED, os.getpid())
            if request.role is Role.RESOLVER:
                return worker.run(self._network, self._resolver_bytes, self._provider)
            return worker.run(self._network)
        except BaseException:  # noqa: BLE001 - what is above this frame belongs to the server
            traceback.print_exc()
            return 1


def _tell(socket_: socket.socket, report: Report, number: int) -> None:
    with contextlib.suppress(OSError):  # the operator is gone: the end of standard input ends this process
        socket_.send(report_line(report, number))


def _share_memory() -> None:
    """Prepares the memory for fork: what is free goes back to the kernel, and what is left is not written any more.

    A garbage collection writes to each object that it looks at (`gc.freeze`), and so copies its page.
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it: malloc_trim(3)
    if trim:
        trim(0)


def _set_process_name(name: str) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode())
