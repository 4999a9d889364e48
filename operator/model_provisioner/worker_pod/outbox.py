"""What a worker pod has to send: answers until the operator has confirmed them, and of progress the newest only.

Filled by `requests`, emptied by `connection` while there is one. What an answer says is not decided here.
"""

import asyncio

from model_provisioner.worker_protocol.channel import HEAD_BYTES, LONGEST_ANSWER_BYTES, Channel
from model_provisioner.worker_protocol.codec import encode_answer
from model_provisioner.worker_protocol.messages import Answer, FailedAnswer, Progress, VerifyingAnswer

_TOO_LONG = "the names of the model's files are too long to be handled together in a worker pod"


class Outbox:
    """The frames of one pod. A new session begins with `reset`."""

    def __init__(self) -> None:
        self.channel = Channel()
        self._frames: list[bytes] = []
        self._progress: dict[str, bytes] = {}
        self._is_connected = False
        self._is_confirming = False
        self._changed = asyncio.Event()

    def post(self, answer: Answer) -> None:
        """Queues an answer and returns at once."""
        if isinstance(answer, Progress | VerifyingAnswer):
            self._progress[answer.id] = encode_answer(answer)
        else:
            if last := self._progress.pop(answer.id, None):
                self._queue(self.channel.pack_once(last))
            self._queue(self.channel.pack(_line(answer)))
        self._changed.set()

    def confirm(self) -> None:
        """A line has arrived that must be confirmed."""
        self._is_confirming = True
        self._changed.set()

    def reset(self) -> None:
        """Another operator: what the one before has not received is of no use."""
        self.channel = Channel()
        self._progress.clear()

    def connect(self, confirmed: int) -> None:
        """Sends again what the operator has not received. Raises ValueError if `confirmed` can't be right."""
        self._frames = self.channel.resume(confirmed)
        self._is_connected = True
        self._changed.set()

    def disconnect(self) -> None:
        """Keeps what must arrive for the next connection."""
        self._is_connected = False
        self._frames = []

    async def take(self) -> list[bytes]:
        """The next frames to send. Waits until there are some."""
        await self._changed.wait()
        self._changed.clear()
        frames, self._frames = self._frames, []
        frames += [self.channel.pack_once(line) for line in self._progress.values()]
        self._progress.clear()
        if self._is_confirming and not frames:  # each frame confirms, too
            frames.append(self.channel.confirmation())
        self._is_confirming = False
        return frames

    def _queue(self, frame: bytes) -> None:
        if self._is_connected:
            self._frames.append(frame)


def _line(answer: Answer) -> bytes:
    """The line of `answer`, or of an error if the operator would not read it."""
    line = encode_answer(answer)
    if len(line) + HEAD_BYTES <= LONGEST_ANSWER_BYTES:
        return line
    return encode_answer(FailedAnswer(answer.id, "UnsupportedSource", _TOO_LONG))
