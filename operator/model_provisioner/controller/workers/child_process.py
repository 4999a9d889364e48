"""Worker processes: starting them, talking to them, and surviving their death.

The heavy loops (bytes, digests, hub metadata) run in children of the operator, so that they never
starve its event loop and `kill -9` of one is an ordinary event. A worker is warm: it takes request
after request. What is asked of it is `transfer.protocol`; who asks are `stores`, `hubs` and `sharing`.
"""

import asyncio
import contextlib
import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from model_provisioner.aio.cancellation import wait_all
from model_provisioner.domain.errors import InternalError, error_of
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES, decode_answer, encode_request
from model_provisioner.worker_protocol.messages import (
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

ProgressHandler = Callable[[Progress | VerifyingAnswer], None]


@dataclass
class _Pending:
    """A request to `process` that has not been answered; progress goes to `on_progress`, the end to `answer`.

    `progressed` says that there was progress since somebody last looked.
    """

    process: asyncio.subprocess.Process
    on_progress: ProgressHandler
    progressed: bool = False
    answer: asyncio.Future[Answer] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class WorkerProcess:
    """One child process, started on the first request and again after it has died."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._pending: dict[str, _Pending] = {}

    async def call(
        self,
        request: Request,
        on_progress: ProgressHandler = lambda _: None,
        seconds: float | None = None,
        silence: float | None = None,
    ) -> Answer:
        """The final answer to `request`.

        Raises the ProvisionError that the worker reports, InternalError if it dies, takes more than `seconds`, or
        says nothing about the request for `silence` seconds (it is then killed and replaced). If the caller is
        cancelled, the worker is told and given a moment to write its journal.
        """
        process = await self.start()
        pending = self._pending[request.id] = _Pending(process, on_progress)
        try:
            await self._send(process, request)
            async with asyncio.timeout(seconds):
                answer = await _wait_for_answer(pending, silence)
        except asyncio.CancelledError:
            await wait_all(asyncio.create_task(self._cancel(process, request.id, pending)))
            raise
        except TimeoutError:
            await self._terminate(process)
            why = "was silent for" if seconds is None else "took longer than"
            message = f"{request.op} {why} {seconds or silence:.0f}s and was given up; what was written is kept"
            _LOG.warning("worker %s is replaced: %s", process.pid, message)
            raise InternalError(message) from None
        finally:
            self._pending.pop(request.id, None)
        if isinstance(answer, FailedAnswer):
            raise error_of(answer.reason, answer.message, answer.retry_after, answer.wants_token)
        return answer

    def notify(self, request: Limit) -> None:
        """What is not answered. Lost if the worker has died, as is the request that it was about."""
        process = self._process
        if process and process.stdin and process.returncode is None and not process.stdin.is_closing():
            process.stdin.write(encode_request(request))

    async def start(self) -> asyncio.subprocess.Process:
        """The running process; idempotent."""
        async with self._starting:
            if self._process is None or self._process.returncode is not None:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    limit=LONGEST_LINE_BYTES,
                )
                self._reader = asyncio.create_task(self._read(self._process), name=f"worker-{self._process.pid}")
            return self._process

    async def stop(self) -> None:
        """Close its standard input, which means stop at once; kill it if it does not obey."""
        if self._process:
            await self._terminate(self._process)
        if self._reader:
            await asyncio.wait({self._reader}, timeout=_EXIT_SECONDS)

    async def _terminate(self, process: asyncio.subprocess.Process) -> None:
        """Of two requests to one that hangs, the second must not end what has taken its place."""
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
            # One that hangs in the kernel dies when that lets go of it, and answers nothing any more.
            self._fail_pending(process, -signal.SIGKILL)

    async def _send(self, process: asyncio.subprocess.Process, request: Request) -> None:
        if process.stdin is None:
            raise InternalError("the transfer process has no standard input")
        try:
            process.stdin.write(encode_request(request))
            await process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError):
            _LOG.warning("worker %s is gone; its end is reported by its reader", process.pid)

    async def _cancel(self, process: asyncio.subprocess.Process, request_id: str, pending: _Pending) -> None:
        if pending.answer.done() or process.returncode is not None:
            return
        try:
            await self._send(process, Cancel(request_id))
            async with asyncio.timeout(_CANCEL_SECONDS):
                await asyncio.shield(pending.answer)
        except TimeoutError:
            _LOG.warning("worker %s did not stop within %ss and is killed", process.pid, _CANCEL_SECONDS)
            await self._terminate(process)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        try:
            while process.stdout and (line := await process.stdout.readline()):
                self._dispatch(line)
        finally:
            self._fail_pending(process, await process.wait())

    def _dispatch(self, line: bytes) -> None:
        try:
            answer = decode_answer(line)
        except ValueError:
            _LOG.exception("a worker wrote a line that is not an answer")
            return
        pending = self._pending.get(answer.id)
        if pending is None or pending.answer.done():
            return
        if isinstance(answer, Progress | VerifyingAnswer):
            pending.progressed = True
            pending.on_progress(answer)
        else:
            pending.answer.set_result(answer)

    def _fail_pending(self, process: asyncio.subprocess.Process, code: int) -> None:
        """Everything that was asked of the dead process is answered: cancelled, or failed and worth another try."""
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        for request_id, pending in self._pending.items():
            if pending.process is process and not pending.answer.done():
                message = f"the transfer process ended unexpectedly ({how}); what it had written is kept"
                pending.answer.set_result(FailedAnswer(request_id, InternalError.__name__, message))


async def _wait_for_answer(pending: _Pending, silence: float | None) -> Answer:
    """Raises TimeoutError when for `silence` seconds there was no progress; notices it within twice that time."""
    while True:
        pending.progressed = False
        try:
            async with asyncio.timeout(silence):
                return await asyncio.shield(pending.answer)
        except TimeoutError:
            if not pending.progressed:
                raise
