"""The Lease while the API server does not answer: never do two operators act."""

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from model_provisioner.controller.process import lease
from model_provisioner.controller.process.lease import DURATION_SECONDS, Lease, LeaseLost
from model_provisioner.kube.client import ApiError, KubeApi

START = datetime(2026, 1, 1, tzinfo=UTC)
OUT_OF_REACH = ApiError(0, "Unreachable", "no answer")


class World:
    """A held Lease, a clock that only `sleep` moves, and an API server that is unreachable during the `outages`.

    An outage is a begin and an end in seconds.
    """

    def __init__(self, *outages: tuple[float, float], answer_seconds: float = 0.0) -> None:
        self.now = 0.0
        self.answer_seconds = answer_seconds
        self.outages = outages
        self.spec: dict[str, Any] = {"holderIdentity": "me", "leaseTransitions": 4}
        self.renewals: list[float] = []
        self.lease = Lease(
            cast("KubeApi", self), "models", "me", lambda: START, lambda: self.now, cast("Any", self.sleep)
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 200:
            raise asyncio.CancelledError

    async def get(self, _path: str) -> dict[str, Any]:
        self._raise_if_out()
        return {"metadata": {"resourceVersion": "1"}, "spec": self.spec}

    async def patch(self, _path: str, body: dict[str, Any]) -> dict[str, Any]:
        self._raise_if_out()
        self.renewals.append(self.now)
        self.now += self.answer_seconds
        self.spec |= body["spec"]
        return {"spec": self.spec}

    def _raise_if_out(self) -> None:
        if any(begin <= self.now < end for begin, end in self.outages):
            raise OUT_OF_REACH


async def test_an_outage_that_is_shorter_than_the_duration_is_ridden_out_whenever_it_begins() -> None:
    for begin in range(4, 12):
        world = World((begin, begin + 35))
        with pytest.raises(asyncio.CancelledError):
            await world.lease.renew()
        gaps = [after - before for before, after in zip(world.renewals, world.renewals[1:], strict=False)]
        assert max(gaps) < DURATION_SECONDS


async def test_a_slow_answer_does_not_put_the_next_renewal_off() -> None:
    world = World(answer_seconds=3)
    with pytest.raises(asyncio.CancelledError):
        await world.lease.renew()
    assert world.renewals[:4] == [5, 10, 15, 20]


async def test_an_outage_that_outlasts_the_duration_ends_the_reign_before_another_can_begin() -> None:
    world = World((5, 1000))
    with pytest.raises(LeaseLost):
        await world.lease.renew()
    assert 40 <= world.now < DURATION_SECONDS - 5


async def test_requests_that_are_never_answered_are_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that waits for them would act together with the next one."""
    monkeypatch.setattr(lease, "_REQUEST_TIMEOUT_SECONDS", 0.001)
    world = World()

    async def never_answer(_path: str) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    world.get = never_answer  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await world.lease.renew()
    assert 40 <= world.now < DURATION_SECONDS - 5
    await world.lease.release()
    with pytest.raises(asyncio.CancelledError):
        await world.lease.acquire()
    assert world.now > 200


async def test_an_operator_that_starts_during_an_outage_waits_for_its_end() -> None:
    world = World((0, 30))
    assert await world.lease.acquire() == 4
    assert 30 <= world.now < 35


async def test_a_refusal_to_read_the_lease_is_raised() -> None:
    world = World()

    async def refuse(_path: str) -> dict[str, Any]:
        raise ApiError(403, "Forbidden", "may not")

    world.get = refuse  # type: ignore[method-assign]
    with pytest.raises(ApiError, match="may not"):
        await world.lease.acquire()


async def test_giving_it_up_may_fail() -> None:
    world = World((0, 30))
    await world.lease.release()
    assert world.spec["holderIdentity"] == "me"
