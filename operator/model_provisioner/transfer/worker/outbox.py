"""The worker's standard output: answers in order, progress newest first, and never in the way of a transfer.

A pipe that nobody reads fills up. Then answers wait in memory, of each transfer's progress only the
newest is kept, and the transfer goes on.
"""

import asyncio
import contextlib

from model_provisioner.aio.clock import Clock
from model_provisioner.worker_protocol.codec import encode_answer
from model_provisioner.worker_protocol.messages import Answer, Cancelled, FailedAnswer, Progress, VerifyingAnswer

_PROGRESS_SECONDS = 0.2


class Outbox:
    def __init__(self, writer: asyncio.StreamWriter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._answers: list[Answer] = []
        self._progress: dict[str, Progress | VerifyingAnswer] = {}
        self._next_progress = clock.monotonic()
        self._changed = asyncio.Event()

    def post(self, answer: Answer) -> None:
        """Returns at once. A good end takes the place of progress; any other comes after it, not saying what came."""
        if isinstance(answer, Progress | VerifyingAnswer):
            if not self._progress:
                self._changed.set()
            self._progress[answer.id] = answer
        else:
            last = self._progress.pop(answer.id, None)
            if last and isinstance(answer, FailedAnswer | Cancelled):
                self._answers.append(last)
            self._answers.append(answer)
            self._changed.set()

    async def run(self) -> None:
        """Writes for ever: answers at once, progress every 200 ms at most."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_until_progress()):
                    await self._changed.wait()
            self._changed.clear()
            self._write_due()
            await self._writer.drain()

    async def flush(self) -> None:
        """Hands over the answers that are left; `run` must have ended."""
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
            self._writer.write(b"".join(map(encode_answer, due)))
