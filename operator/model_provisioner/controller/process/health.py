"""Whether the operator would act on a change of an object. Answers the kubelet's probes; made by `app`.

A running process may have a dead watch. So a second, independent watch (the reflector) reports the newest version of
each object, and `handlers` reports which version kopf has delivered. A busy kopf delivers late, but it goes on, and in
order. A change is missed if deliveries stop, or if later changes were delivered before it; only a restart helps then.
"""

from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

_GRACE_SECONDS = 20.0  # with three failed probes and a restart, a missed change is handled within a minute
_START_SECONDS = 600.0  # during the start, it is enough that deliveries go on
_SILENCE_SECONDS = 180.0


class Health:
    """`last_event_age` returns the seconds since the reflectors received anything from the API server.

    `monotonic` is in seconds.
    """

    def __init__(
        self, last_event_age: Callable[[], float], queue_is_stuck: Callable[[], bool], monotonic: Callable[[], float]
    ) -> None:
        self._last_event_age = last_event_age
        self._queue_is_stuck = queue_is_stuck
        self._monotonic = monotonic
        self._pending: dict[str, tuple[int, float]] = {}  # uid: the newest version, and when a change was first seen
        self._delivered: dict[str, int] = {}  # uid: the newest version that kopf has delivered
        self._stuck_since: float | None = None
        self._initial_list_delivered = False
        self._last_delivery_at = self._started_at = monotonic()
        self._newest_delivered_at = float("-inf")  # when the reflector saw the newest change that kopf has delivered
        self.acting = False

    def begin(self) -> None:
        """From now on kopf delivers events. The existing objects come first, which may take minutes."""
        self.acting = True
        self._started_at = self._monotonic()

    def on_event(self, kind: str, document: Mapping[str, Any]) -> None:
        """The reflector has seen this version of an object, so kopf's watch must deliver it soon."""
        uid, version = document["metadata"]["uid"], int(document["metadata"]["resourceVersion"])
        if kind == "DELETED":
            self._forget(uid)
        elif self._delivered.get(uid, 0) < version:
            since = self._pending[uid][1] if uid in self._pending else self._monotonic()
            self._pending[uid] = (version, since)
        else:
            self._newest_delivered_at = self._monotonic()

    def delivered(self, kind: str | None, uid: str, resource_version: str) -> None:
        """kopf has delivered this version of an object. A pending newer version stays pending."""
        if kind == "DELETED":
            self._forget(uid)
            return
        version = self._delivered[uid] = max(int(resource_version), self._delivered.get(uid, 0))
        self._last_delivery_at = self._monotonic()
        if uid in self._pending and version >= self._pending[uid][0]:
            self._newest_delivered_at = max(self._newest_delivered_at, self._pending.pop(uid)[1])
            self._initial_list_delivered = self._initial_list_delivered or not self._pending

    def _forget(self, uid: str) -> None:
        self._pending.pop(uid, None)
        self._delivered.pop(uid, None)

    def problems(self) -> list[str]:
        """One message per problem; empty if the operator is healthy."""
        now = self._monotonic()
        found = []
        if self._last_event_age() > _SILENCE_SECONDS:
            found.append(f"nothing heard from the API server for {self._last_event_age():.0f}s")
        if late := [now - since for _, since in self._pending.values() if self._is_missed(since, now)]:
            found.append(f"the watch is behind: {len(late)} changes not delivered, the oldest {max(late):.0f}s old")
        self._stuck_since = (self._stuck_since or now) if self._queue_is_stuck() else None
        if self._stuck_since is not None and now - self._stuck_since > _GRACE_SECONDS:
            found.append("the queue is stuck: slots are free and objects wait")
        return found

    def _is_missed(self, since: float, now: float) -> bool:
        """Whether a change that the reflector saw at `since` is overdue.

        During the start, all objects were seen before, and kopf delivers them in any order.
        """
        starting = not self._initial_list_delivered and now - self._started_at < _START_SECONDS
        overtaken = since < self._newest_delivered_at and not starting
        waited_since = since if overtaken else max(since, self._last_delivery_at, self._started_at)
        return now - waited_since > _GRACE_SECONDS


def probes(health: Health) -> list[web.RouteDef]:
    """`/healthz` answers 503 if there is a problem; `/readyz` also while the operator waits for the Lease."""

    async def healthz(_request: web.Request) -> web.Response:
        return _answer(health.problems() if health.acting else [])

    async def readyz(_request: web.Request) -> web.Response:
        return _answer(health.problems() if health.acting else ["waiting for the Lease"])

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _answer(problems: list[str]) -> web.Response:
    return web.Response(text="\n".join(problems) or "ok", status=503 if problems else 200)
