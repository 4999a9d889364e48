"""Passes the operator's requests to the workers of this pod, and their answers back.

A fetch is for the fetcher, everything else for the store worker, as in the operator's own pod. Called by `connection`
with each line that arrives; `command` says how the workers are started. The answer of a worker is passed on as it is.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping

import msgspec

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.worker_processes.worker import Worker
from model_provisioner.worker_protocol.codec import decode_request
from model_provisioner.worker_protocol.copies import DoorAddress
from model_provisioner.worker_protocol.forking import Role
from model_provisioner.worker_protocol.messages import (
    AddressGiven,
    Answer,
    Cancel,
    Cancelled,
    FailedAnswer,
    Failure,
    Fetch,
    Limit,
    Task,
)

_LOG = logging.getLogger(__name__)


class Requests:
    """The requests that run. `workers` has the fetcher and the store worker; `post` sends an answer.

    `directory` is where this pod has the volume, and `door` where it reaches the operator, whatever the operator says.
    """

    def __init__(
        self,
        workers: Mapping[Role, Worker],
        directory: str,
        post: Callable[[Answer], None],
        door: DoorAddress | None = None,
    ) -> None:
        self._workers = workers
        self._directory = directory
        self._post = post
        self._door = door
        self._running: dict[str, asyncio.Task[None]] = {}

    def on_line(self, line: bytes) -> None:
        """Starts the request in `line`, or changes one that runs."""
        try:
            request = decode_request(line)
        except ValueError:  # the line is not shown: it may contain a token
            _LOG.warning("a line of %d bytes that is not a request was left out", len(line))
            return
        match request:
            case Cancel():
                if task := self._running.get(request.id):
                    task.cancel()
            case Limit() | AddressGiven():
                self._workers[Role.FETCHER].notify(request)
            case _:
                self._start(self._here(request))

    def _here(self, request: Task) -> Task:
        store = getattr(request, "store", None)
        if not isinstance(store, StoreRef):
            return request
        here = dataclasses.replace(store, directory=self._directory)
        if isinstance(request, Fetch):
            return msgspec.structs.replace(request, store=here, door=self._door)
        return msgspec.structs.replace(request, store=here)

    async def cancel_all(self) -> None:
        """Cancels all requests and returns when nothing is written any more. No answer is sent."""
        running, self._running = self._running, {}
        for task in running.values():
            task.cancel()
        await asyncio.gather(*running.values(), return_exceptions=True)

    def _start(self, request: Task) -> None:
        task = asyncio.create_task(self._carry_out(request), name=request.op)
        self._running[request.id] = task
        task.add_done_callback(lambda done: self._on_done(request.id, done))

    def _on_done(self, request_id: str, task: asyncio.Task[None]) -> None:
        # Cancelled is sent here and not by the task, because a task may be cancelled before its first step.
        if self._running.pop(request_id, None) and task.cancelled():
            self._post(Cancelled(request_id))

    async def _carry_out(self, request: Task) -> None:
        worker = self._workers[Role.FETCHER if isinstance(request, Fetch) else Role.STORE]
        try:
            answer = await worker.call(request, self._post, on_address=self._post)
        except ProvisionError as error:
            why = Failure.of(error)
            answer = FailedAnswer(request.id, why.reason, why.message, why.retry_after, why.wants_token)
        if request.id in self._running:
            self._post(answer)
