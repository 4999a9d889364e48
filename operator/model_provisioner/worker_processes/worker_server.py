"""The process that forks the workers: starting it, asking it for workers, and surviving its death.

Its protocol is `worker_protocol.forking`. Workers that are forked when they are needed, and not kept, take memory for
the time of their work only. Made by `controller.workers.pool`; `child_process` asks for a worker.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Sequence

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.domain.errors import InternalError
from model_provisioner.worker_processes.process import ForkedProcess, Pipes, read_report
from model_provisioner.worker_protocol.forking import Report, Role, parse_report

_LOG = logging.getLogger(__name__)
_FORK_SECONDS = 30.0  # the start of the interpreter included, on a machine that does much else
_EXIT_SECONDS = 3.0
_RESTART_SECONDS = 1.0
_TRIES = 2


class _ServerGoneError(Exception):
    """The server has died before a worker has started, or it could not fork one."""


class WorkerServer:
    """`command` is the argv of the server. It is started by `start` or the first `launch`, and again when it dies."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._requests: socket.socket | None = None
        self._starting = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None

    async def launch(self, role: Role) -> ForkedProcess:
        """A new worker of `role`. Raises InternalError if none can be forked; a server that hangs is replaced."""
        for _ in range(_TRIES):
            try:
                async with asyncio.timeout(_FORK_SECONDS):
                    return await self._launch(role)
            except _ServerGoneError:
                await self._notice_end()
            except TimeoutError:
                await self._replace()
                raise InternalError(f"no worker could be started within {_FORK_SECONDS:.0f}s") from None
        raise InternalError("no worker could be started: the operator's log says why")

    async def start(self) -> None:
        """Starts the server, and keeps it running, so that no model waits for an interpreter to start."""
        await self._connected()
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep(), name="worker-server")

    async def stop(self) -> None:
        """Ends the server. Stop the workers before: they die with it."""
        if self._keeper:
            await cancel_and_wait(self._keeper)
            self._keeper = None
        await self._replace()

    async def _launch(self, role: Role) -> ForkedProcess:
        requests = await self._connected()
        with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
            (stdin, to_worker), (from_worker, stdout) = os.pipe(), os.pipe()
            mine, report = socket.socketpair()
            theirs.callback(os.close, stdin)
            theirs.callback(os.close, stdout)
            theirs.callback(report.close)
            pipes = await Pipes.open(to_worker, from_worker)
            ours.callback(pipes.close)
            reader, writer = await asyncio.open_unix_connection(sock=mine)
            ours.callback(writer.close)
            try:
                socket.send_fds(requests, [role.value], [stdin, stdout, report.fileno()])
            except OSError as error:
                raise _ServerGoneError from error
            theirs.close()
            pid = parse_report(Report.STARTED, await read_report(reader))
            if pid is None:
                raise _ServerGoneError
            ours.pop_all()
            return ForkedProcess(pid, pipes, reader, writer)

    async def _connected(self) -> socket.socket:
        """The socket of the server, which is started unless it runs."""
        async with self._starting:
            if self._requests is None or self._process is None or self._process.returncode is not None:
                if self._requests:
                    self._requests.close()
                self._requests, theirs = socket.socketpair()
                self._requests.setblocking(False)
                with theirs:
                    self._process = await asyncio.create_subprocess_exec(
                        *self._command, stdin=theirs.fileno(), stdout=asyncio.subprocess.DEVNULL
                    )
            return self._requests

    async def _notice_end(self) -> None:
        """Waits until it is known that the server has died. It lives on if it had no memory for a fork."""
        if self._process:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_RESTART_SECONDS):
                    await self._process.wait()

    async def _keep(self) -> None:
        """Replaces a server that dies; not more often than once a second."""
        while True:
            try:
                await self._connected()
                if process := self._process:
                    code = await process.wait()
                    _LOG.warning("the worker server %s has ended (exit code %s) and is replaced", process.pid, code)
            except OSError:
                _LOG.exception("the worker server can't be started")
            await asyncio.sleep(_RESTART_SECONDS)

    async def _replace(self) -> None:
        """Ends the server. The next `launch` starts another one."""
        process, self._process = self._process, None
        if self._requests:
            self._requests.close()
            self._requests = None
        if process is None or process.returncode is not None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EXIT_SECONDS):
                await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
