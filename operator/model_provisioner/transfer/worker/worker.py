"""`model-provisioner fetch --worker`: carries out requests that come as lines on standard input.

The operator runs it in three roles: fetcher (fetch), store worker (settle, check, verify, remove, sweep, …) and
resolver. `Worker._execute` has the code for each kind of request, `store_requests` for most of a store worker's; the
requests are documented in `worker_protocol.messages`, the lines in `worker_protocol.codec`. At the end of input the
operator is gone: all requests are cancelled, and fetchers write their journals. Called by `transfer.cli.command`.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import resource
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from model_provisioner.aio.clock import Clock
from model_provisioner.aio.threads import Threads
from model_provisioner.domain.credentials.ambient import Provider
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import InternalError, ProvisionError, Retryable
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.job import Addresses, Job
from model_provisioner.transfer.download.requests.copies import Copies
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver, addresses_of
from model_provisioner.transfer.store.store import Store
from model_provisioner.transfer.worker import access, store_requests
from model_provisioner.transfer.worker.outbox import Outbox
from model_provisioner.transfer.worker.sending import Sender
from model_provisioner.transfer.worker.store_requests import StoreOpener
from model_provisioner.transfer.worker.verification import wrong_files
from model_provisioner.transfer.worker.wanted_addresses import WantedAddresses
from model_provisioner.worker_protocol import messages
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES, decode_request
from model_provisioner.worker_protocol.messages import Answer, Request, Task

_LOG = logging.getLogger(__name__)
_FLUSH_SECONDS = 0.5
_MOST_THREADS = 32
_STACK_BYTES = 1024**2
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

T = TypeVar("T")


def run(network: NetworkSettings, memory_bytes: int | None = None, provider: Provider | None = None) -> int:
    """Serves requests until the end of standard input, and returns the exit code 0.

    With `memory_bytes`, a process that needs more private memory ends with OUT_OF_MEMORY_EXIT, so that what a hub sends
    takes no memory of the container from others. `provider` gives this pod an access key for buckets.
    """
    die_with_parent()
    if memory_bytes is not None:
        limit_memory(memory_bytes)
    asyncio.run(_serve(network, provider))
    return 0


def run_plan(file: Path, network: NetworkSettings, provider: Provider | None = None) -> int:
    """Carries out the one `fetch` request in `file`, for a Job. Its answers go to standard output.

    Returns the exit code: 0 if the model was published, else 1; 143 after SIGTERM, which keeps the bytes received.
    """
    try:
        request = decode_request(file.read_bytes())
    except (OSError, ValueError):  # the text is not shown: the request may contain a token
        sys.stderr.write(f"{file} can't be read as a fetch request, which is one line as --worker takes it\n")
        return 1
    if not isinstance(request, messages.Fetch):
        sys.stderr.write(f"{file} holds a request to {request.op}: only fetch is carried out\n")
        return 1
    try:
        return asyncio.run(_serve_fetch(request, network, provider))
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _serve_fetch(request: messages.Fetch, network: NetworkSettings, provider: Provider | None) -> int:
    clock = Clock()
    outbox = Outbox(await _standard_output(), clock)
    async with open_client(network) as client, _writing_answers(outbox):
        fetching = asyncio.create_task(Worker(client, outbox, clock, provider).handle(request))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, fetching.cancel)
        answer = await fetching
        outbox.post(answer)
        return 0 if isinstance(answer, messages.Published) else 1


def die_with_parent() -> None:
    """Lets the kernel kill this process when the operator dies, so that no writer outlives it.

    Linux only (prctl(2), PR_SET_PDEATHSIG). Elsewhere the end of input stops the worker.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def limit_memory(size: int) -> None:
    """Limits what the process may allocate to `size` bytes (getrlimit(2), RLIMIT_DATA: private writable mappings).

    A stack counts as a whole, so that of a thread is made small. RLIMIT_AS would also count what is only reserved.
    """
    threading.stack_size(_STACK_BYTES)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = size if hard == resource.RLIM_INFINITY else min(size, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


async def _serve(network: NetworkSettings, provider: Provider | None) -> None:
    # A name server that does not answer keeps a thread for each look-up; by default there are few.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_MOST_THREADS))
    clock = Clock()
    outbox = Outbox(await _standard_output(), clock)
    async with open_client(network) as client:
        worker = Worker(client, outbox, clock, provider)
        async with _writing_answers(outbox):
            try:
                await worker.serve(await _standard_input())
            finally:
                await worker.stop()


@contextlib.asynccontextmanager
async def _writing_answers(outbox: Outbox) -> AsyncIterator[None]:
    """Runs the outbox. At the end, writes the queued answers if the pipe takes them within half a second."""
    writing = asyncio.create_task(outbox.run())
    try:
        yield
    finally:
        writing.cancel()
        with contextlib.suppress(TimeoutError, OSError, asyncio.CancelledError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await outbox.flush()


class Worker:
    """Runs any number of requests at once. The operator decides which requests may run at the same time."""

    def __init__(self, client: Client, outbox: Outbox, clock: Clock, provider: Provider | None = None) -> None:
        self._client = client
        self._outbox = outbox
        self._clock = clock
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._limits: dict[str, Limits] = {}
        self._addresses: dict[str, WantedAddresses] = {}
        self._opener = StoreOpener()
        self._sender = Sender()
        self._resolver = Resolver(client, provider=provider)

    async def serve(self, lines: asyncio.StreamReader) -> None:
        """Starts the requests in `lines`; returns at the end of input, when requests may still run."""
        while line := await lines.readline():
            try:
                request = decode_request(line)
            except ValueError:  # the line is not shown: it may contain a token
                _LOG.warning("a line of %d bytes that is not a request was left out", len(line))
                continue
            self._dispatch(request)

    async def stop(self) -> None:
        """Cancels all requests and waits until journals are written."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _dispatch(self, request: Request) -> None:
        """Applies Cancel and Limit to a running request at once; runs any other request as a task."""
        match request:
            case messages.Cancel():
                self._cancel(request)
            case messages.Limit():
                self._limit(request)
            case messages.AddressGiven():
                self._give(request)
            case _:
                self._start(request)

    def _cancel(self, request: messages.Cancel) -> None:
        if task := self._tasks.get(request.id):
            task.cancel()

    def _limit(self, request: messages.Limit) -> None:
        if limits := self._limits.get(request.id):
            limits.connections, limits.bytes_per_second = request.connections, request.bytes_per_second

    def _give(self, request: messages.AddressGiven) -> None:
        if addresses := self._addresses.get(request.id):
            addresses.on_given(request)

    def _start(self, request: Task) -> None:
        if isinstance(request, messages.Fetch):
            self._addresses[request.id] = WantedAddresses(request.id, self._outbox.post)
            self._limits[request.id] = Limits(request.connections, request.bytes_per_second)
        task = asyncio.create_task(self._handle_and_post(request))
        self._tasks[request.id] = task
        task.add_done_callback(lambda done: self._on_done(request.id, done))

    def _on_done(self, request_id: str, task: asyncio.Task[None]) -> None:
        # Cancelled is posted here and not in the task, because a task may be cancelled before its first step.
        self._tasks.pop(request_id, None)
        self._limits.pop(request_id, None)
        self._addresses.pop(request_id, None)
        if task.cancelled():
            self._outbox.post(messages.Cancelled(request_id))

    async def handle(self, request: Task) -> Answer:
        """Carries out a request and returns its final answer; an error becomes a FailedAnswer."""
        try:
            return await self._execute(request)
        except ProvisionError as error:
            retry_after = error.retry_after if isinstance(error, Retryable) else None
            return messages.FailedAnswer(request.id, error.reason, error.message, retry_after, error.wants_token)
        except MemoryError:  # what else has failed in this process for want of memory is not known
            os._exit(messages.OUT_OF_MEMORY_EXIT)
        except Exception as error:  # noqa: BLE001 - a bug must become an answer, or the operator waits forever
            _LOG.exception("%s failed in a way that was not foreseen", request.op)
            message = f"{type(error).__name__} while {request.op} was carried out: a bug; the log has the traceback"
            return messages.FailedAnswer(request.id, InternalError.__name__, message)

    async def _handle_and_post(self, request: Task) -> None:
        self._outbox.post(await self.handle(request))

    async def _execute(self, request: Task) -> Answer:
        match request:
            case messages.Fetch():
                return await self._fetch(request)
            case messages.Resolve() | messages.Locate() | messages.ProveAccess():
                return await self._ask_source(request)
            case messages.Send():
                return await _run_in_thread(lambda: self._sender.send(request))
            case messages.Verify():
                return await self._verify(request)
            case _:
                return await _run_in_thread(lambda: store_requests.handle(request, self._opener))

    async def _ask_source(self, request: messages.Resolve | messages.Locate | messages.ProveAccess) -> Answer:
        match request:
            case messages.Resolve():
                return await self._resolver.resolve(request)
            case messages.Locate():
                return await self._resolver.address(request)
            case messages.ProveAccess():
                return await access.prove(request, self._resolver, self._client, self._clock)

    async def _fetch(self, request: messages.Fetch) -> Answer:
        copies = Copies(request.copies, request.door) if request.door and request.copies else None
        job = Job(
            request.plan,
            self._limits.get(request.id) or Limits(request.connections, request.bytes_per_second),
            request.epoch,
            request.credentials,
            request.holder.uid,
            self._asking(request),
            copies,
        )
        async with _open_store(self._opener, request.store) as store:
            reporter = _Reporter(request.id, self._outbox, copies)
            found = await engine.provide(job, store.files, self._client, reporter, self._clock)
        return messages.Published(
            request.id, found.files, found.gguf, found.received, found.read, copies.copied if copies else 0
        )

    def _asking(self, request: messages.Fetch) -> Addresses:
        """Asks the operator for addresses; for a Job, which has none, the sources themselves."""
        wanted = self._addresses.get(request.id)
        return wanted.get if wanted else addresses_of(self._resolver, request.plan.ref, request.credentials)

    async def _verify(self, request: messages.Verify) -> Answer:
        async with _open_store(self._opener, request.store) as store:
            wrong = await wrong_files(store, request.files, _Reporter(request.id, self._outbox).verifying)
        return messages.Verified(request.id, wrong)


class _Reporter:
    """Posts the progress of one request; a `job.Reporter`. `copies` are those of the fetch, if it has any."""

    def __init__(self, request_id: str, outbox: Outbox, copies: Copies | None = None) -> None:
        self._id = request_id
        self._outbox = outbox
        self._copies = copies

    @property
    def _copied(self) -> int:
        return self._copies.copied if self._copies else 0

    def progress(self, done: int, total: int, restarts: int, received: int, wait: Wait | None = None) -> None:
        self._outbox.post(messages.Progress(self._id, done, total, restarts, received, wait, self._copied))

    def verifying(self, hashed: int, total: int, received: int = 0) -> None:
        self._outbox.post(messages.VerifyingAnswer(self._id, hashed, total, received, self._copied))


def _open_store(opener: StoreOpener, reference: StoreRef) -> contextlib.AbstractAsyncContextManager[Store]:
    return Threads().opened(lambda: opener.open(reference), Store.close)


async def _run_in_thread(function: Callable[[], T]) -> T:
    """Runs `function` in a thread, and returns only when the thread has ended, also if the caller is cancelled.

    Until then no other request may use the records.
    """
    threads = Threads()
    try:
        return await threads.run(function)
    finally:
        await threads.idle()


async def _standard_input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


async def _standard_output() -> asyncio.StreamWriter:
    loop = asyncio.get_running_loop()
    transport, protocol_ = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, sys.stdout)
    return asyncio.StreamWriter(transport, protocol_, None, loop)
