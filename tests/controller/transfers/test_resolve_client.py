"""Questions to a hub: few at one time, and none of one that has just said that they are too many."""

import asyncio
from typing import cast

import pytest

from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.transfers.resolve_client import ResolveClient
from model_provisioner.controller.workers.child_process import WorkerProcess
from model_provisioner.domain.errors import ProvisionError, RateLimited
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES
from model_provisioner.domain.store.plan import Plan
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer

HUB = "https://hub.example"
AT_ONCE = 16


class Resolver:
    """Answers when the test lets it; with `refusal`, if there is one."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.refusal: ProvisionError | None = None

    async def call(self, request: Resolve, *, seconds: float) -> ResolvedAnswer:
        assert seconds == 60
        self.asked.append(request.ref)
        await self.answers.wait()
        if self.refusal:
            raise self.refusal
        return ResolvedAnswer(request.id, Plan(request.ref, None, ()), NO_ALTERNATIVES)


def hubs(resolver: Resolver) -> ResolveClient:
    return ResolveClient(cast("WorkerProcess", resolver), RateLimits())


def question(number: int, ref: str = "hf:acme/m") -> Resolve:
    return Resolve(str(number), ref, HUB, None, None, None)


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_who_is_in_the_queue_when_the_hub_says_too_many_does_not_ask() -> None:
    resolver = Resolver()
    resolver.refusal = RateLimited("slow down", 60)
    asking = hubs(resolver)
    tasks = [asyncio.create_task(asking.resolve(question(number))) for number in range(300)]
    await steps()
    assert len(resolver.asked) == AT_ONCE
    resolver.answers.set()
    told = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(one) for one in told} == {RateLimited}
    assert len(resolver.asked) == AT_ONCE


async def test_who_waits_may_leave_and_asks_nothing() -> None:
    resolver = Resolver()
    asking = hubs(resolver)
    tasks = [asyncio.create_task(asking.resolve(question(number))) for number in range(AT_ONCE + 1)]
    await steps()
    tasks[-1].cancel()
    await steps()
    resolver.answers.set()
    await asyncio.gather(*tasks[:-1])
    await asking.resolve(question(99))
    assert len(resolver.asked) == AT_ONCE + 1


async def test_a_file_of_the_volume_waits_for_no_hub() -> None:
    resolver = Resolver()
    asking = hubs(resolver)
    tasks = [asyncio.create_task(asking.resolve(question(number))) for number in range(AT_ONCE)]
    await steps()
    local = asyncio.create_task(asking.resolve(question(99, "local:m.gguf")))
    await steps()
    assert resolver.asked[-1] == "local:m.gguf"
    resolver.refusal = RateLimited("slow down", 60)
    resolver.answers.set()
    await asyncio.gather(*tasks, local, return_exceptions=True)
    resolver.refusal = None
    await asking.resolve(question(100, "local:m.gguf"))
    with pytest.raises(RateLimited, match="asked us to slow down"):
        await asking.resolve(question(101))
