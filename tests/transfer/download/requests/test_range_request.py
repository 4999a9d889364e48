"""Which requests wait too long, and which are too slow. Time is an argument."""

import asyncio
from collections.abc import Callable

import pytest

from model_provisioner.domain.download.ranges import ByteRange
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.transfer.download.requests.range_request import RangeRequest, RangeRequests

MIB = 1024 * 1024
ORIGIN = "https://mirror.example"
TIMEOUT = 90.0


def sent(start: int, now: float) -> RangeRequest:
    request = RangeRequest.of(ByteRange(start, start + 64 * MIB), now)
    request.sent(ORIGIN, now)
    return request


def receive(request: RangeRequest, size: int, now: float) -> None:
    """A chunk at `now`, and then the next wait."""
    request.end_wait(now, size)
    request.position += size
    request.measure_rate(now)
    request.begin_wait(now)


def test_the_first_byte_may_take_as_long_as_the_source_is_allowed() -> None:
    request = sent(0, 100.0)
    assert not request.stalled(189.9, TIMEOUT)
    assert request.stalled(190.0, TIMEOUT)


def test_a_header_does_not_begin_the_answer_a_second_time() -> None:
    request = sent(0, 100.0)
    request.end_wait(140.0, 0)
    request.begin_wait(140.0)
    assert request.silence(150.0) == 50.0
    assert request.stalled(190.0, TIMEOUT)


def test_each_hop_of_a_redirect_has_its_own_time() -> None:
    request = sent(0, 100.0)
    request.sent("https://content.example", 180.0)
    assert not request.stalled(269.9, TIMEOUT)
    assert request.origin == "https://content.example"


def test_after_the_first_byte_30_seconds_of_silence_are_too_long() -> None:
    request = sent(0, 0.0)
    receive(request, MIB, 80.0)
    assert not request.stalled(109.9, TIMEOUT)
    assert request.stalled(110.0, TIMEOUT)


def test_a_wait_is_told_only_if_all_requests_wait() -> None:
    requests = RangeRequests(TIMEOUT)
    assert requests.wait(0.0) is None
    first, second = sent(0, 0.0), sent(64 * MIB, 30.0)
    requests.add(first)
    assert requests.wait(36.0) == Wait(ORIGIN, 35, begun=False)
    requests.add(second)
    assert requests.wait(36.0) == Wait(ORIGIN, 5, begun=False)
    receive(first, MIB, 36.0)
    assert requests.wait(37.0) is None
    assert requests.wait(60.0) == Wait(ORIGIN, 20, begun=True)


async def cancelled(request: RangeRequest, act: Callable[[], object]) -> bool:
    try:
        async with asyncio.timeout(None) as request.timeout:
            act()
            await asyncio.sleep(0.01)
    except TimeoutError:
        return True
    return False


def a_busy_and_a_waiting_request(first_byte_seconds: float) -> tuple[RangeRequests, RangeRequest]:
    """One request brings a MiB a second, after `first_byte_seconds`. Then another one is sent, at 100 s."""
    requests = RangeRequests(TIMEOUT)
    busy = sent(0, 100.0 - first_byte_seconds)
    requests.add(busy)
    receive(busy, MIB, 100.0)
    requests.begun(busy, 100.0)
    waiting = sent(64 * MIB, 100.0)
    requests.add(waiting)
    for second in range(1, 40):
        receive(busy, MIB, 100.0 + second)
    return requests, waiting


@pytest.mark.parametrize(("first_byte_seconds", "too_slow"), [(0.1, True), (40.0, False)])
async def test_a_request_is_not_slow_before_its_answer_can_have_begun(
    first_byte_seconds: float, too_slow: bool
) -> None:
    requests, waiting = a_busy_and_a_waiting_request(first_byte_seconds)
    assert await cancelled(waiting, lambda: requests.cancel_stalled(139.0)) is too_slow


@pytest.mark.parametrize(("first_byte_seconds", "taken"), [(0.1, True), (40.0, False)])
def test_its_range_is_not_taken_over_before_that_either(first_byte_seconds: float, taken: bool) -> None:
    requests, _ = a_busy_and_a_waiting_request(first_byte_seconds)
    assert (requests.take_tail(139.0) is not None) is taken


async def test_the_wait_for_the_answer_does_not_count_as_slowness() -> None:
    """It waited 39 seconds and now brings as much as the other one."""
    requests, waiting = a_busy_and_a_waiting_request(40.0)
    receive(waiting, MIB, 139.0)
    for second in range(1, 8):
        receive(waiting, MIB, 139.0 + second)
    assert not await cancelled(waiting, lambda: requests.cancel_stalled(146.0))
    assert waiting.rate > MIB / 2


async def test_a_wait_that_is_just_being_cancelled_is_not_cancelled_again() -> None:
    """The watch may look twice before the task that waits goes on: after a pause of the whole process."""
    with pytest.raises(TimeoutError):
        await cancelled_twice(sent(0, 0.0))


async def cancelled_twice(request: RangeRequest) -> None:
    async with asyncio.timeout(None) as request.timeout:
        request.cancel_wait()
        try:
            await asyncio.sleep(60)
        finally:
            request.cancel_wait()
