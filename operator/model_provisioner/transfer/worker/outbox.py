"""Writes a worker's answers to standard output, without blocking a transfer. Used by `worker`.

If the operator does not read and the pipe is full, answers wait in memory in their order, and only the newest progress
of each request is kept. What an answer says is not decided here.
"""

import asyncio
import contextlib

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES, encode_answer
from model_provisioner.worker_protocol.messages import (
    AddressWanted,
    Answer,
    Cancelled,
    FailedAnswer,
    Progress,
    VerifyingAnswer,
)

_PROGRESS_SECONDS = 0.2


class Outbox:
    """`writer` is standard output; `clock` gives the monotonic time."""

    def __init__(self, writer: asyncio.StreamWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._answers: list[Answer] = []
        self._progress: dict[str, Progress | VerifyingAnswer] = {}
        self._next_progress = clock.monotonic()
        self._changed = asyncio.Event()

    def post(self, answer: Answer) -> None:
        """Queues an answer and returns at once.

        A final answer drops the queued progress of its request. FailedAnswer and Cancelled do not say how many bytes
        were received, so that progress is written before them.
        """
        if isinstance(answer, Progress | VerifyingAnswer):
            if not self._progress:
                self._changed.set()
            self._progress[answer.id] = answer
        elif isinstance(answer, AddressWanted):
            self._answers.append(answer)
            self._changed.set()
        else:
            last = self._progress.pop(answer.id, None)
            if last and isinstance(answer, FailedAnswer | Cancelled):
                self._answers.append(last)
            self._answers.append(answer)
            self._changed.set()

    async def run(self) -> None:
        """Writes until it is cancelled: answers at once, progress at most every 200 ms."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_until_progress()):
                    await self._changed.wait()
            self._changed.clear()
            self._write_due()
            await self._writer.drain()

    async def flush(self) -> None:
        """Writes the queued answers without progress. Call it only after `run` has ended."""
        self._progress.clear()
        self._write_due()
        await self._writer.drain()

    def _seconds_until_progress(self) -> float | None:
        return max(0.0, self._next_progress - self._clock.monotonic()) if self._progress else None

    def _write_due(self) -> None:
        due, self._answers = self._answers, []
        now = self._clock.monotonic()
        if self._progress and now >= self._next_progress:
            due.extend(self._progress.values())
            self._progress.clear()
            self._next_progress = now + _PROGRESS_SECONDS
        if due:
            self._writer.write(b"".join(map(_line, due)))


def _line(answer: Answer) -> bytes:
    """The line of `answer`, or of an error if the operator would not read it."""
    line = encode_answer(answer)
    if len(line) <= LONGEST_LINE_BYTES:
        return line
    message = "the names of the model's files are too long to be handled together: choose another model, or rename them"
    return encode_answer(FailedAnswer(answer.id, UnsupportedSource.__name__, message))
