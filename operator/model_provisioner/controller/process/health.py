"""Whether the operator would act on a change of an object. Answers the kubelet's probes; made by `app`.

A running process may have a dead watch. So a second, independent watch (the reflector) reports the newest version of
each object, and `handlers` reports which version kopf has delivered. A busy kopf delivers late, but it goes on, and in
order. A change is missed if deliveries stop, or if later changes were delivered before it; only a restart helps then.

One object never makes the probe fail, because its editors can make kopf's work on it fail or last. kopf stops
delivering the changes of such an object, but it still receives them, and the body of the object shows that. A late
change counts if kopf was never told of its object, if nothing at all is delivered, if many objects are late, or if kopf
has not even received it for longer than its work on one object can last.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiohttp import web

_GRACE_SECONDS = 20.0  # with three failed probes and a restart, a missed change is handled within a minute
_START_SECONDS = 600.0  # during the start, it is enough that deliveries go on
_SILENCE_SECONDS = 180.0
_MANY_OBJECTS = 5
_ONE_OBJECT_SECONDS = 300.0  # kopf repeats a refused request of one object for a minute at most


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
        self._bodies: dict[str, Mapping[str, Any]] = {}  # uid: the body that kopf brings up to date
        self._working_on: set[str] = set()
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
            before = self._pending.get(uid)
            waits = before is not None and not self._is_received(uid, before[0])
            self._pending[uid] = (version, before[1] if before and waits else self._monotonic())
        else:
            self._newest_delivered_at = self._monotonic()

    def delivered(
        self, kind: str | None, uid: str, resource_version: str, body: Mapping[str, Any] | None = None
    ) -> None:
        """kopf has delivered this version of an object. A pending newer version stays pending.

        `body` shows at any time the newest version that kopf has received, also while it delivers none.
        """
        if kind == "DELETED":
            self._forget(uid)
            return
        if body is not None:
            self._bodies[uid] = body
        version = self._delivered[uid] = max(int(resource_version), self._delivered.get(uid, 0))
        self._last_delivery_at = self._monotonic()
        if uid in self._pending and version >= self._pending[uid][0]:
            self._newest_delivered_at = max(self._newest_delivered_at, self._pending.pop(uid)[1])
            self._initial_list_delivered = self._initial_list_delivered or not self._pending

    @contextmanager
    def working_on(self, uid: str) -> Iterator[None]:
        """While a handler of this object runs, kopf receives its changes but does not look at them."""
        self._working_on.add(uid)
        try:
            yield
        finally:
            self._working_on.discard(uid)

    def _forget(self, uid: str) -> None:
        self._pending.pop(uid, None)
        self._delivered.pop(uid, None)
        self._bodies.pop(uid, None)

    def problems(self) -> list[str]:
        """One message per problem; empty if the operator is healthy."""
        now = self._monotonic()
        found = []
        if self._last_event_age() > _SILENCE_SECONDS:
            found.append(f"nothing heard from the API server for {self._last_event_age():.0f}s")
        if late := self._late(now):
            found.append(f"the watch is behind: {len(late)} changes not delivered, the oldest {max(late):.0f}s old")
        self._stuck_since = (self._stuck_since or now) if self._queue_is_stuck() else None
        if self._stuck_since is not None and now - self._stuck_since > _GRACE_SECONDS:
            found.append("the queue is stuck: slots are free and objects wait")
        return found

    def _late(self, now: float) -> list[float]:
        """The ages in seconds of the missed changes; empty if they show no more than a few objects in trouble."""
        missed = {
            uid: now - since
            for uid, (version, since) in self._pending.items()
            if self._is_missed(since, now) and not self._is_received(uid, version)
        }
        silent = now - max(self._last_delivery_at, self._started_at) > _GRACE_SECONDS
        if silent or len(missed) >= _MANY_OBJECTS or missed.keys() - self._delivered.keys():
            return list(missed.values())
        return [age for age in missed.values() if age > _ONE_OBJECT_SECONDS]

    def _is_received(self, uid: str, version: int) -> bool:
        """Whether kopf has this version of an object, or works on the object now and takes the newest one afterwards.

        kopf brings the body up to date before it does anything else.
        """
        body = self._bodies.get(uid)
        return uid in self._working_on or (body is not None and int(body["metadata"]["resourceVersion"]) >= version)

    def _is_missed(self, since: float, now: float) -> bool:
        """Whether a change that the reflector saw at `since` is overdue.

        During the start, all objects were seen before, and kopf delivers them in any order.
        """
        starting = not self._initial_list_delivered and now - self._started_at < _START_SECONDS
        overtaken = since < self._newest_delivered_at and not starting
        waited_since = since if overtaken else max(since, self._last_delivery_at, self._started_at)
        return now - waited_since > _GRACE_SECONDS


def probes(health: Health, is_standby: Callable[[], bool]) -> list[web.RouteDef]:
    """`/healthz` answers 503 if there is a problem; `/readyz` also while the operator waits for the Lease.

    An operator for which `is_standby` holds is ready while it waits: another replica acts, and this one would take
    over.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return _answer(health.problems() if health.acting else [])

    async def readyz(_request: web.Request) -> web.Response:
        if health.acting:
            return _answer(health.problems())
        return _answer([] if is_standby() else ["waiting for the Lease"])

    return [web.get("/healthz", healthz), web.get("/readyz", readyz)]


def _answer(problems: list[str]) -> web.Response:
    return web.Response(text="\n".join(problems) or "ok", status=503 if problems else 200)
