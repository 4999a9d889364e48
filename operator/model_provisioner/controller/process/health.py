"""Is the operator alive, in the sense that it would act on a change? Asked by the kubelet's probes.

A process that runs can be deaf: its watch may be dead. So a second, independent watch (the reflector)
says which version of each object there is, and kopf's deliveries say which version has reached us.
Who has much to do delivers late, but goes on delivering, and in order. A change is missed where nothing
comes any more, or where later ones have come: then only a restart tells us of it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

_GRACE_SECONDS = 20.0  # with three failed probes and a start, what was missed is looked after within a minute
_START_SECONDS = 600.0  # until then it is enough that deliveries go on
_SILENCE_SECONDS = 180.0


class Health:
    """`heard_age` is how many seconds ago the reflector heard anything from the API server."""

    def __init__(
        self, heard_age: Callable[[], float], queue_is_stuck: Callable[[], bool], monotonic: Callable[[], float]
    ) -> None:
        self._heard_age = heard_age
        self._queue_is_stuck = queue_is_stuck
        self._monotonic = monotonic
        self._due: dict[str, tuple[int, float]] = {}
        self._delivered: dict[str, int] = {}
        self._stuck_since: float | None = None
        self._caught_up = False
        self._delivered_at = self._begun = monotonic()
        self._heard_at = float("-inf")  # of all that was delivered the latest
        self.acting = False

    def begin(self) -> None:
        """From now on kopf delivers; first every object that there is, which may take longer than our patience."""
        self.acting = True
        self._begun = self._monotonic()

    def on_event(self, kind: str, document: Mapping[str, Any]) -> None:
        """The reflector has seen this version of an object, so kopf's watch must deliver it soon."""
        uid, version = document["metadata"]["uid"], int(document["metadata"]["resourceVersion"])
        if kind == "DELETED":
            self._forget(uid)
        elif self._delivered.get(uid, 0) < version:
            since = self._due[uid][1] if uid in self._due else self._monotonic()
            self._due[uid] = (version, since)
        else:
            self._heard_at = self._monotonic()

    def delivered(self, kind: str | None, uid: str, resource_version: str) -> None:
        """This version has reached the operator; an older one than is due does not count."""
        if kind == "DELETED":
            self._forget(uid)
            return
        version = self._delivered[uid] = max(int(resource_version), self._delivered.get(uid, 0))
        self._delivered_at = self._monotonic()
        if uid in self._due and version >= self._due[uid][0]:
            self._heard_at = max(self._heard_at, self._due.pop(uid)[1])
            self._caught_up = self._caught_up or not self._due

    def _forget(self, uid: str) -> None:
        self._due.pop(uid, None)
        self._delivered.pop(uid, None)

    def complaints(self) -> list[str]:
        """What is wrong; empty when all is well."""
        now = self._monotonic()
        found = []
        if self._heard_age() > _SILENCE_SECONDS:
            found.append(f"nothing heard from the API server for {self._heard_age():.0f}s")
        if late := [now - since for _, since in self._due.values() if self._is_missed(since, now)]:
            found.append(f"the watch is behind: {len(late)} changes not delivered, the oldest {max(late):.0f}s old")
        self._stuck_since = (self._stuck_since or now) if self._queue_is_stuck() else None
        if self._stuck_since is not None and now - self._stuck_since > _GRACE_SECONDS:
            found.append("the queue is stuck: slots are free and objects wait")
        return found

    def _is_missed(self, since: float, now: float) -> bool:
        """A change that was heard at `since`. At the start everything was heard long ago, and comes in any order."""
        starting = not self._caught_up and now - self._begun < _START_SECONDS
        overtaken = since < self._heard_at and not starting
        waited_since = since if overtaken else max(since, self._delivered_at, self._begun)
        return now - waited_since > _GRACE_SECONDS


def probes(health: Health) -> list[web.RouteDef]:
    """`/healthz`: alive; `/readyz`: alive and acting."""

    async def healthz(_request: web.Request) -> web.Response:
        return _answer(health.complaints() if health.acting else [])

    async def readyz(_request: web.Request) -> web.Response:
        return _answer(health.complaints() if health.acting else ["waiting for the Lease"])

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _answer(complaints: list[str]) -> web.Response:
    return web.Response(text="\n".join(complaints) or "ok", status=503 if complaints else 200)
