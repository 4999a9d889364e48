"""A worker process: starting it, calling it, ending it when it idles, and surviving its death.

The heavy work (bytes, digests, hub metadata) runs in processes below the operator: it never blocks the event loop,
and the death of one is an ordinary event. A worker handles any number of requests. The messages are in
`worker_protocol.messages`. A `Worker` for `controller.stores.store_client`, `controller.transfers.resolve_client` and
`controller.transfers.shared_transfer`; made by `controller.workers.pool`, which says when it has idled for too long.
The process may also be that of a pod (`controller.workers.worker_pod`), which differs by the methods that say so.
"""

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from model_provisioner.aio.cancellation import wait_all
from model_provisioner.domain.errors import InternalError, ProvisionError, error_of
from model_provisioner.worker_processes.process import Process
from model_provisioner.worker_processes.worker import (
    AddressHandler,
    ProgressHandler,
    ignore_progress,
    ignore_question,
)
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES, decode_answer, encode_request
from model_provisioner.worker_protocol.messages import (
    EXIT_REASONS,
    AddressGiven,
    AddressWanted,
    Answer,
    Cancel,
    FailedAnswer,
    Limit,
    Progress,
    Request,
    VerifyingAnswer,
)

_LOG = logging.getLogger(__name__)
_CANCEL_SECONDS = 3.0
_EXIT_SECONDS = 3.0


@dataclass
class _Pending:
    """A request to `process` without a final answer yet.

    `progressed` is set at each progress message; `_wait_for_answer` resets it.
    """

    process: Process
    request: Request
    on_progress: ProgressHandler
    on_address: AddressHandler
    progressed: bool = False
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WorkerProcess:
    """One process at a time, which `launch` starts: for the first request, and for the next one after it has ended.

    `monotonic` is in seconds.
    """

    def __init__(
        self, launch: Callable[[], Awaitable[Process]], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._launch = launch
        self._monotonic = monotonic
        self._used_at = monotonic()
        self._process: Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._pending: dict[str, _Pending] = {}

    async def call(
        self,
        request: Request,
        on_progress: ProgressHandler = ignore_progress,
        seconds: float | None = None,
        silence: float | None = None,
        on_address: AddressHandler = ignore_question,
    ) -> Answer:
        """See `Worker.call`."""
        process = await self.start()
        pending = self._pending[request.id] = _Pending(process, request, on_progress, on_address)
        try:
            await self._send(process, request)
            async with asyncio.timeout(seconds):
                answer = await self._wait_for_answer(pending, silence)
        except asyncio.CancelledError:
            await wait_all(asyncio.create_task(self._cancel(process, request.id, pending)))
            raise
        except TimeoutError:
            if self._is_cut_off(process):
                raise self._error(process) from None
            await self._terminate(process)
            why = "was silent for" if seconds is None else "took longer than"
            message = f"{request.op} {why} {seconds or silence:.0f}s and was given up; what was written is kept"
            _LOG.warning("worker %s is replaced: %s", process.pid, message)
            raise InternalError(message) from None
        finally:
            self._pending.pop(request.id, None)
            self._used_at = self._monotonic()
        if isinstance(answer, FailedAnswer):
            raise error_of(answer.reason, answer.message, answer.retry_after, answer.wants_token)
        return answer

    def notify(self, request: Limit | AddressGiven) -> None:
        """See `Worker.notify`."""
        process = self._process
        if process and process.stdin and process.returncode is None and not process.stdin.is_closing():
            process.stdin.write(encode_request(request))

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> Process:
        """Starts the process unless it runs, and returns it."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                self._process = await self._launch()
                self._used_at = self._monotonic()
                self._reader = asyncio.create_task(self._read(self._process), name=f"worker-{self._process.pid}")
            return self._process

    def has_idled(self, seconds: float) -> bool:
        """Whether there is a process, and it has had no request for `seconds`."""
        return self.is_running and not self._pending and self._monotonic() - self._used_at >= seconds

    async def retire(self, idle_seconds: float) -> None:
        """Ends the process if it has had no request for `idle_seconds`.

        No request is lost: the process never ends by itself, and from here on a request starts another one.
        """
        process = self._process
        if process and not self._pending and self._monotonic() - self._used_at >= idle_seconds:
            self._process = None
            await self._terminate(process)

    async def stop(self) -> None:
        """Closes its standard input, at which a worker exits; kills it after three seconds."""
        if self._process:
            await self._terminate(self._process)
        if self._reader:
            await asyncio.wait({self._reader}, timeout=_EXIT_SECONDS)

    def _is_cut_off(self, process: Process) -> bool:  # noqa: ARG002 -- for a process in a pod
        """Whether `process` can't be heard now although it may be at work: its silence says nothing. For subclasses."""
        return False

    def _on_unreadable(self, process: Process) -> None:
        """Called in the handler of the ValueError of a line that is not an answer. For subclasses."""
        _LOG.exception("worker %s wrote a line that is not an answer", process.pid)

    def _refusal(self, request: Request, answer: Answer) -> str | None:  # noqa: ARG002 -- for a process in a pod
        """What is wrong with `answer`, as a clause; None if `request` may be answered so. For subclasses."""
        return None

    def _fault(self, what: str) -> ProvisionError:
        """The error of the requests to a process that is ended because of `what` it did. For subclasses."""
        return InternalError(f"the transfer process {what}; what it had written is kept")

    def _error(self, process: Process) -> ProvisionError:
        """Why the requests to `process`, which has ended, are not answered. For subclasses."""
        code = -signal.SIGKILL if process.returncode is None else process.returncode
        how = EXIT_REASONS.get(code) or (signal.Signals(-code).name if code < 0 else f"exit code {code}")
        return InternalError(f"the transfer process ended unexpectedly ({how}); what it had written is kept")

    async def _wait_for_answer(self, pending: _Pending, silence: float | None) -> Answer:
        """Raises TimeoutError if there is no progress for `silence` seconds; detects it within twice that time."""
        while True:
            pending.progressed = False
            try:
                async with asyncio.timeout(silence):
                    return await asyncio.shield(pending.answer)
            except TimeoutError:
                if not (pending.progressed or self._is_cut_off(pending.process)):
                    raise

    async def _terminate(self, process: Process) -> None:
        """Ends `process`, which need not be the current one: the timeout of another request may have replaced it."""
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, OSError):
            if process.stdin:
                process.stdin.close()
            async with asyncio.timeout(_EXIT_SECONDS):
                await process.wait()
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            if self._process is process:
                self._process = None
            # A process in uninterruptible sleep (D state) dies later; its requests fail now.
            self._fail_requests(process, self._error(process))

    async def _send(self, process: Process, request: Request) -> None:
        if process.stdin is None:
            raise InternalError("the transfer process has no standard input")
        try:
            process.stdin.write(encode_request(request))
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            _LOG.warning("worker %s is gone; its end is reported by its reader", process.pid)

    async def _cancel(self, process: Process, request_id: str, pending: _Pending) -> None:
        if pending.answer.done() or process.returncode is not None:
            return
        try:
            await self._send(process, Cancel(request_id))
            async with asyncio.timeout(_CANCEL_SECONDS):
                await asyncio.shield(pending.answer)
        except TimeoutError:
            _LOG.warning("worker %s did not stop within %ss and is killed", process.pid, _CANCEL_SECONDS)
            await self._terminate(process)

    async def _read(self, process: Process) -> None:
        try:
            while process.stdout and (line := await process.stdout.readline()):
                self._dispatch(process, line)
        except ValueError:  # readline() has no other error, and nothing after such a line can be read
            self._bury(process, f"wrote a line of more than {LONGEST_LINE_BYTES // 1024**2} MiB and was ended")
        finally:
            await process.wait()
            self._fail_requests(process, self._error(process))

    def _bury(self, process: Process, what: str) -> None:
        """Kills `process` and fails its requests at once; the next request starts another one."""
        _LOG.error("worker %s %s", process.pid, what)
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if self._process is process:
            self._process = None
        self._fail_requests(process, self._fault(what))

    def _dispatch(self, process: Process, line: bytes) -> None:
        try:
            answer = decode_answer(line)
        except ValueError:
            self._on_unreadable(process)
            return
        pending = self._pending.get(answer.id)
        if pending is None or pending.answer.done():
            return
        if wrong := self._refusal(pending.request, answer):
            self._bury(pending.process, wrong)
            return
        if isinstance(answer, Progress | VerifyingAnswer):
            pending.progressed = True
            pending.on_progress(answer)
        elif isinstance(answer, AddressWanted):
            pending.on_address(answer)
        else:
            pending.answer.set_result(answer)

    def _fail_requests(self, process: Process, error: ProvisionError) -> None:
        """Answers all requests to `process` with `error`, which is retried."""
        for request_id, pending in self._pending.items():
            if pending.process is process and not pending.answer.done():
                pending.answer.set_result(FailedAnswer(request_id, error.reason, error.message))
