"""The places for questions to hubs, and the line in front of them. Called by `resolve_client`.

Which one is next is decided in `domain.scheduling.hub_questions`.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator

from model_provisioner.domain.scheduling.hub_questions import Question, next_question


class QuestionPlaces:
    """`places` is how many questions may be asked at one time."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._waiting: dict[Question, deque[asyncio.Future[None]]] = {}
        self._in_namespace: Counter[str] = Counter()
        self._at_origin: Counter[str] = Counter()

    @contextlib.asynccontextmanager
    async def place(self, question: Question) -> AsyncIterator[None]:
        """Waits for a place, and frees it after the block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(question, deque()).append(turn)
        self._call_next()
        try:
            await turn
        except asyncio.CancelledError:
            self._leave(question, turn)
            raise
        try:
            yield
        finally:
            self._free(question)

    def _call_next(self) -> None:
        while question := next_question(self._waiting, self._in_namespace, self._at_origin, self._places):
            line = self._waiting.pop(question)
            turn = line.popleft()
            if line:
                self._waiting[question] = line  # behind the others
            if not turn.cancelled():
                self._in_namespace[question.namespace] += 1
                self._at_origin[question.origin] += 1
                turn.set_result(None)

    def _leave(self, question: Question, turn: asyncio.Future[None]) -> None:
        """Takes a cancelled one out of the line; it may have got its place at the same moment."""
        if not turn.cancelled():
            self._free(question)
            return
        line = self._waiting.get(question, deque())
        if turn in line:
            line.remove(turn)
        if not line:
            self._waiting.pop(question, None)

    def _free(self, question: Question) -> None:
        for counts, key in ((self._in_namespace, question.namespace), (self._at_origin, question.origin)):
            counts[key] -= 1
            if not counts[key]:
                del counts[key]
        self._call_next()
