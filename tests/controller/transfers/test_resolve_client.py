"""Resolve requests to a hub: few at one time, and none after an answer 429."""

import asyncio
from typing import cast

import pytest

from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.transfers.resolve_client import ResolveClient
from model_provisioner.domain.errors import ProvisionError, RateLimited
from model_provisioner.domain.lifecycle.suspended_message import NO_ALTERNATIVES
from model_provisioner.domain.network.response_time import resolve_seconds
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.http.curl_errors import CONNECT_SECONDS
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer

HUB = "https://hub.example"
NAMESPACE = "models"
AT_ONCE = 8  # of one namespace


class Resolver:
    """Answers when the test sets `answers`; raises `refusal`, if there is one."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.seconds: float | None = None
        self.answers = asyncio.Event()
        self.refusal: ProvisionError | None = None
        self.seconds = 0.0

    async def call(self, request: Resolve, *, seconds: float) -> ResolvedAnswer:
        self.seconds = seconds
        self.requests.append(request.ref)
        await self.answers.wait()
        if self.refusal:
            raise self.refusal
        return ResolvedAnswer(request.id, Plan(request.ref, None, ()), NO_ALTERNATIVES)


def resolve_client(resolver: Resolver) -> ResolveClient:
    return ResolveClient(cast("WorkerProcess", resolver), RateLimits())


def resolve_request(number: int, ref: str = "hf:acme/m") -> Resolve:
    return Resolve(str(number), ref, HUB, None, None, None)


async def steps() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_requests_that_wait_when_the_hub_answers_429_are_not_sent() -> None:
    resolver = Resolver()
    resolver.refusal = RateLimited("slow down", 60)
    client = resolve_client(resolver)
    tasks = [asyncio.create_task(client.resolve(resolve_request(number), NAMESPACE)) for number in range(300)]
    await steps()
    assert len(resolver.requests) == AT_ONCE
    resolver.answers.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert {type(result) for result in results} == {RateLimited}
    assert len(resolver.requests) == AT_ONCE


@pytest.mark.parametrize("response_timeout", [1, 90, 3600])
async def test_the_resolver_gets_time_for_each_of_its_requests_to_the_hub(response_timeout: int) -> None:
    """Metadata, and the access check of a gated repository. Each waits `response_timeout` after it is connected."""
    resolver = Resolver()
    resolver.answers.set()
    client = ResolveClient(cast("WorkerProcess", resolver), RateLimits(), response_timeout)
    await client.resolve(resolve_request(1), NAMESPACE)
    assert resolver.seconds is not None
    assert resolver.seconds >= 2 * (response_timeout + CONNECT_SECONDS)


async def test_a_waiting_request_that_is_cancelled_is_not_sent() -> None:
    resolver = Resolver()
    client = resolve_client(resolver)
    tasks = [asyncio.create_task(client.resolve(resolve_request(number), NAMESPACE)) for number in range(AT_ONCE + 1)]
    await steps()
    tasks[-1].cancel()
    await steps()
    resolver.answers.set()
    await asyncio.gather(*tasks[:-1])
    await client.resolve(resolve_request(99), NAMESPACE)
    assert len(resolver.requests) == AT_ONCE + 1


async def test_a_local_ref_does_not_wait_for_a_hub() -> None:
    resolver = Resolver()
    client = resolve_client(resolver)
    tasks = [asyncio.create_task(client.resolve(resolve_request(number), NAMESPACE)) for number in range(AT_ONCE)]
    await steps()
    local = asyncio.create_task(client.resolve(resolve_request(99, "local:m.gguf"), NAMESPACE))
    await steps()
    assert resolver.requests[-1] == "local:m.gguf"
    resolver.refusal = RateLimited("slow down", 60)
    resolver.answers.set()
    await asyncio.gather(*tasks, local, return_exceptions=True)
    resolver.refusal = None
    await client.resolve(resolve_request(100, "local:m.gguf"), NAMESPACE)
    with pytest.raises(RateLimited, match="asked us to slow down"):
        await client.resolve(resolve_request(101), NAMESPACE)


@pytest.mark.parametrize("response_timeout", [10.0, 90.0, 600.0])
async def test_the_resolver_tells_of_its_own_deadline_first(response_timeout: float) -> None:
    resolver = Resolver()
    resolver.answers.set()
    client = ResolveClient(cast("WorkerProcess", resolver), RateLimits(), response_timeout)
    await client.resolve(resolve_request(1), NAMESPACE)
    assert resolver.seconds is not None
    assert response_timeout < resolve_seconds(response_timeout) < resolver.seconds


async def test_the_slow_questions_of_one_namespace_do_not_keep_another_waiting() -> None:
    resolver = Resolver()
    client = resolve_client(resolver)
    slow = [asyncio.create_task(client.resolve(resolve_request(number), "hostile")) for number in range(300)]
    await steps()
    other = asyncio.create_task(client.resolve(resolve_request(300, "hf:acme/other"), "honest"))
    await steps()
    assert resolver.requests[-1] == "hf:acme/other"
    assert len(resolver.requests) == AT_ONCE + 1
    resolver.answers.set()
    await asyncio.gather(*slow, other)
    assert len(resolver.requests) == 301, "all of them are asked in the end"


async def test_cancelled_questions_leave_their_places_to_others() -> None:
    resolver = Resolver()
    client = resolve_client(resolver)
    for _ in range(3):
        tasks = [asyncio.create_task(client.resolve(resolve_request(number), NAMESPACE)) for number in range(20)]
        await steps()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert len(resolver.requests) == 3 * AT_ONCE
    resolver.answers.set()
    await client.resolve(resolve_request(99), NAMESPACE)
