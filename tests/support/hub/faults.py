"""Scripted faults, as a list of small rules; any number of them apply at once.

Tests add rules through `server`. The origins look up those that apply to a request, on the event loop only. Rules about
bodies use offsets in the file and are looked up for every piece, so a rule that is added during a transfer applies.
"""

import asyncio
import concurrent.futures
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from typing_extensions import override

from tests.support.hub.log import names_path
from tests.support.hub.sockets import delivered, reset

Where = Literal["content", "api", "resolve"]


@dataclass(kw_only=True)
class Fault:
    """A rule for `path` (a file or a repository, None: all) that applies `times` times (None: without end)."""

    path: str | None = None
    times: int | None = None

    def applies(self, url_path: str) -> bool:
        return self.times != 0 and names_path(url_path, self.path)

    def spend(self) -> None:
        if self.times is not None:
            self.times -= 1


@dataclass(kw_only=True)
class Fail(Fault):
    """Answers `status`. With `above`, only while more than `above` content requests are in progress."""

    status: int
    where: Where
    headers: Mapping[str, str]
    body: bytes
    above: int = 0


@dataclass(kw_only=True)
class IgnoreRanges(Fault):
    """Answers 200 with the whole file to a request for a range."""


@dataclass(kw_only=True)
class Edges(Fault):
    """Answers as `count` edges of a content host in turn: the same bytes, an ETag and a Last-Modified of each edge."""

    count: int
    answers: int = 0

    def headers(self) -> dict[str, str]:
        number = self.answers % self.count
        self.answers += 1
        return {"ETag": f'"edge-{number}"', "Last-Modified": f"Wed, 21 Oct 2026 07:28:{number:02} GMT"}


class BodyFault(Fault):
    """A rule about bodies. `start` is the offset in the file at which the body starts."""

    def edge(self, start: int) -> int | None:
        """The offset in the file at which a piece must end, so that `at` is called there; None without one."""
        return None

    async def at(self, position: int, start: int, transport: asyncio.Transport) -> None:
        """Called before the piece at `position` is sent."""

    def alter(self, position: int, data: bytes) -> bytes:
        return data


@dataclass(kw_only=True)
class ResetAfter(BodyFault):
    """Resets the connection once `size` body bytes of one response have reached the client's machine."""

    size: int

    @override
    def edge(self, start: int) -> int:
        return start + self.size

    @override
    async def at(self, position: int, start: int, transport: asyncio.Transport) -> None:
        if position < start + self.size or self.times == 0:
            return
        self.spend()
        await delivered(transport)
        reset(transport)
        await asyncio.get_running_loop().create_future()  # the reset connection cancels this handler


class Gate:
    """The offset at which bodies stop. Any thread may wait until a body is there, and release it."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._released: concurrent.futures.Future[None] = concurrent.futures.Future()

    def wait_reached(self, timeout: float = 60) -> None:
        """Blocks until a body stops at the gate and everything before it is in the buffers of the client's machine.

        The client may not have read it yet. Raises TimeoutError after `timeout` seconds.
        """
        if not self._reached.wait(timeout):
            raise TimeoutError(f"no body reached the gate within {timeout} s")

    @property
    def is_reached(self) -> bool:
        return self._reached.is_set()

    def release(self) -> None:
        if not self._released.done():
            self._released.set_result(None)

    @property
    def is_released(self) -> bool:
        return self._released.done()

    async def stop_here(self, transport: asyncio.Transport) -> None:
        await delivered(transport)
        self._reached.set()
        await asyncio.shield(asyncio.wrap_future(self._released))


@dataclass(kw_only=True)
class PauseAt(BodyFault):
    """Sends no byte at or beyond file offset `offset` until the gate is released; `times` counts bodies."""

    offset: int
    gate: Gate = field(default_factory=Gate)

    @override
    def edge(self, start: int) -> int:
        return self.offset

    @override
    async def at(self, position: int, start: int, transport: asyncio.Transport) -> None:
        if position >= self.offset and self.times != 0 and not self.gate.is_released:
            self.spend()
            await self.gate.stop_here(transport)


@dataclass(kw_only=True)
class Corrupt(BodyFault):
    """Flips the lowest bit of the byte at `offset`."""

    offset: int

    @override
    def alter(self, position: int, data: bytes) -> bytes:
        index = self.offset - position
        if self.times == 0 or not 0 <= index < len(data):
            return data
        self.spend()
        return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


class Faults:
    def __init__(self) -> None:
        self._rules: list[Fault] = []

    def add(self, rule: Fault) -> None:
        self._rules = [*self._rules, rule]

    def clear(self) -> None:
        """Drops all rules and releases all gates."""
        for rule in self._rules:
            if isinstance(rule, PauseAt):
                rule.gate.release()
        self._rules = []

    def failure(self, where: Where, url_path: str, running: int) -> Fail | None:
        """The scripted failure for this request, which is counted; `running` is the number of content requests."""
        for rule in self._rules:
            if (
                isinstance(rule, Fail)
                and rule.where == where
                and (not rule.above or running > rule.above)
                and rule.applies(url_path)
            ):
                rule.spend()
                return rule
        return None

    def ignores_ranges(self, url_path: str) -> bool:
        return any(isinstance(rule, IgnoreRanges) and rule.applies(url_path) for rule in self._rules)

    def edge_headers(self, url_path: str) -> dict[str, str]:
        edges = (rule for rule in self._rules if isinstance(rule, Edges) and rule.applies(url_path))
        return next((rule.headers() for rule in edges), {})

    def of_body(self, url_path: str) -> list[BodyFault]:
        return [rule for rule in self._rules if isinstance(rule, BodyFault) and rule.applies(url_path)]
