"""The Lease: never do two operators act, and none waits for one whose pod is gone."""

import asyncio
import logging
import math
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from model_provisioner.controller.process import lease
from model_provisioner.controller.process.lease import Lease, LeaseLost
from model_provisioner.domain.liveness import ALONE, SHARED, LeaseHolder, LeaseTerms
from model_provisioner.kube.client import ApiError, KubeApi

START = datetime(2026, 1, 1, tzinfo=UTC)
OUT_OF_REACH = ApiError(0, "Unreachable", "no answer")
NO_POD = ApiError(404, "NotFound", 'pods "operator-a" not found')
UID, ANOTHER = "1b4e28ba-2fa1-11d2-883f-0016d3cca427", "6fa459ea-ee8a-3ca4-894e-db77e160355e"
ME = LeaseHolder("me")
HELD = f"operator-a_{UID}"


class World:
    """A held Lease, a clock that only `sleep` moves, and an API server that is unreachable during the `outages`.

    An outage is a begin and an end in seconds. `pod` is the answer to every request for a pod.
    """

    def __init__(
        self,
        *outages: tuple[float, float],
        answer_seconds: float = 0.0,
        holder: str = "me",
        pod: dict[str, Any] | ApiError = NO_POD,
        me: LeaseHolder = ME,
        terms: LeaseTerms = ALONE,
    ) -> None:
        self.now = 0.0
        self.pod = pod
        self.pods_read: list[str] = []
        self.answer_seconds = answer_seconds
        self.outages = outages
        self.spec: dict[str, Any] = {"holderIdentity": holder, "leaseTransitions": 4}
        self.renewals: list[float] = []
        self.ends_at: list[float] = []
        self.lease = Lease(
            cast("KubeApi", self),
            "models",
            me,
            lambda: START,
            lambda: self.now,
            cast("Any", self.sleep),
            terms,
            self.ends_at.append,
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.now > 200:
            raise asyncio.CancelledError

    async def get(self, path: str) -> dict[str, Any]:
        self._raise_if_out()
        if "/pods/" in path:
            self.pods_read.append(path)
            if isinstance(self.pod, ApiError):
                raise self.pod
            return self.pod
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
        assert max(gaps) < ALONE.duration


async def test_a_slow_answer_does_not_put_the_next_renewal_off() -> None:
    world = World(answer_seconds=3)
    with pytest.raises(asyncio.CancelledError):
        await world.lease.renew()
    assert world.renewals[:4] == [5, 10, 15, 20]


async def test_an_outage_that_outlasts_the_duration_ends_the_reign_before_another_can_begin() -> None:
    world = World((5, 1000))
    with pytest.raises(LeaseLost):
        await world.lease.renew()
    assert 40 <= world.now < ALONE.duration - 5


async def test_requests_that_are_never_answered_are_given_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator that waits for them would act together with the next one."""
    monkeypatch.setattr(lease, "_REQUEST_TIMEOUT_SECONDS", 0.001)
    world = World()

    async def never_answer(path: str) -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    world.get = never_answer  # type: ignore[method-assign]
    with pytest.raises(LeaseLost):
        await world.lease.renew()
    assert 40 <= world.now < ALONE.duration - 5
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

    async def refuse(path: str) -> dict[str, Any]:
        raise ApiError(403, "Forbidden", "may not")

    world.get = refuse  # type: ignore[method-assign]
    with pytest.raises(ApiError, match="may not"):
        await world.lease.acquire()


async def test_giving_it_up_may_fail() -> None:
    world = World((0, 30))
    await world.lease.release()
    assert world.spec["holderIdentity"] == "me"


def pod(uid: str, phase: str = "Running") -> dict[str, Any]:
    return {"metadata": {"uid": uid}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    "answer", [NO_POD, pod(ANOTHER), pod(UID, "Failed")], ids=["no pod", "another pod of that name", "evicted"]
)
async def test_a_holder_whose_pod_is_gone_is_succeeded_at_once(answer: dict[str, Any] | ApiError) -> None:
    world = World(holder=HELD, pod=answer, me=LeaseHolder("operator-b", ANOTHER))
    assert await world.lease.acquire() == 5
    assert world.now == 0
    assert world.spec["holderIdentity"] == f"operator-b_{ANOTHER}"
    assert world.pods_read == ["/api/v1/namespaces/models/pods/operator-a"]


@pytest.mark.parametrize(
    "answer",
    [
        pod(UID),
        {"metadata": {"uid": UID}},
        ApiError(403, "Forbidden", "may not"),
        ApiError(404, "Not Found", "the page of a proxy"),
        ApiError(503, "ServiceUnavailable", "busy"),
        OUT_OF_REACH,
    ],
    ids=["running", "new", "forbidden", "404 of a proxy", "unavailable", "no answer"],
)
async def test_a_holder_whose_pod_may_exist_is_waited_for(answer: dict[str, Any] | ApiError) -> None:
    world = World(holder=HELD, pod=answer)
    assert await world.lease.acquire() == 5
    assert ALONE.duration < world.now < ALONE.duration + 5


async def test_a_pod_that_is_never_told_of_does_not_keep_an_expired_lease_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "_REQUEST_TIMEOUT_SECONDS", 0.001)
    world = World(holder=HELD)
    read = world.get

    async def never_tell_of_a_pod(path: str) -> dict[str, Any]:
        if "/pods/" in path:
            await asyncio.Event().wait()
        return await read(path)

    world.get = never_tell_of_a_pod  # type: ignore[method-assign]
    assert await world.lease.acquire() == 5
    assert ALONE.duration < world.now < ALONE.duration + 5


@pytest.mark.parametrize("holder", ["operator-a", "a-host", "my_host"])
async def test_a_holder_without_a_uid_is_waited_for_and_not_looked_up(holder: str) -> None:
    world = World(holder=holder)
    assert await world.lease.acquire() == 5
    assert world.now > ALONE.duration
    assert world.pods_read == []


async def test_a_restarted_container_goes_on_at_once_with_the_same_epoch() -> None:
    world = World(holder=HELD, me=LeaseHolder.parse(HELD))
    assert await world.lease.acquire() == 4
    assert (world.now, world.pods_read) == (0, [])


async def test_a_lease_that_an_older_version_holds_in_the_same_pod_is_taken_at_once() -> None:
    world = World(holder="operator-a", me=LeaseHolder.parse(HELD))
    assert await world.lease.acquire() == 5
    assert world.now == 0


async def test_one_of_several_ends_before_another_can_begin_and_the_other_begins_within_half_a_minute() -> None:
    world = World((5, 1000), terms=SHARED)
    with pytest.raises(LeaseLost):
        await world.lease.renew()
    assert 10 <= world.now < SHARED.duration - 4
    world = World(holder="operator-a", terms=SHARED)
    world.spec["leaseDurationSeconds"] = SHARED.duration
    assert await world.lease.acquire() == 5
    assert SHARED.duration < world.now < SHARED.duration + 1
    assert world.spec["leaseDurationSeconds"] == SHARED.duration


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (60, 60),
        (20, 20),
        (1, 20),
        (10**9, 60),
        (-5, 20),
        ("20", 60),
        (None, 60),
    ],
)
async def test_the_holders_promise_counts_within_bounds(written: object, seconds: float) -> None:
    """Both have other terms while the number of replicas is changed; and any client may write a Lease."""
    for terms in (ALONE, SHARED):
        world = World(holder="operator-a", terms=terms)
        world.spec["leaseDurationSeconds"] = written
        await world.lease.acquire()
        assert seconds < world.now < seconds + 3


async def test_each_renewal_says_until_when_the_process_may_act() -> None:
    world = World(answer_seconds=1, terms=SHARED)
    await world.lease.acquire()
    assert world.ends_at == [SHARED.deadline]
    with pytest.raises(asyncio.CancelledError):
        await world.lease.renew()
    assert world.ends_at[1:4] == [6 + SHARED.deadline, 11 + SHARED.deadline, 16 + SHARED.deadline]
    await world.lease.release()
    assert world.ends_at[-1] == math.inf


async def test_one_that_waits_asks_seldom_for_the_pod_and_logs_seldom(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world = World(holder=HELD, pod=pod(UID), terms=SHARED)
    assert not world.lease.is_followed()
    await world.lease.acquire()
    assert len(world.pods_read) <= world.now / 2 + 1
    assert len([one for one in caplog.messages if one.startswith("waiting:")]) == 2, "at once, and after a minute"
    assert world.lease.is_followed()
    world.now += 15
    assert not world.lease.is_followed()
