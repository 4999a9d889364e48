"""The limits of open streams, and the answer to a client above them."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from model_provisioner.domain.lifecycle.events import Started
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import KubeApi
from tests.gateway.streaming import document, serving
from tests.gateway.test_access import ALLOWED
from tests.kube import watch_server
from tests.support.samples import MODEL


def token_of(account: str, number: int) -> str:
    """A JSON Web Token like those of the API server, different for each `number`."""
    claims = {"iss": "kubernetes", "sub": account, "jti": number}
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.signature"


def test_each_identity_has_a_limit_and_all_together_have_one() -> None:
    limiter = StreamLimiter(3, 2)
    with limiter.acquire("a"), limiter.acquire("a"):
        with pytest.raises(Problem, match="--max-streams-per-identity") as refused, limiter.acquire("a"):
            pass
        assert (refused.value.status, refused.value.reason) == (429, "TooManyStreams")
        with limiter.acquire("b"), pytest.raises(Problem, match=r"--max-streams$"), limiter.acquire("c"):
            pass
    assert (limiter.open, limiter.refused) == (0, 2)
    with limiter.acquire("a"), limiter.acquire("a"):
        assert limiter.open == 2


async def test_all_tokens_of_an_account_count_for_one_limit(tmp_path: Path) -> None:
    reviews = watch_server.WatchServer([ALLOWED], [])
    async with watch_server.serving(reviews, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        authorizer = Authorizer(api, "models", open_to_all=False)
        async with serving(authorizer, limiter=StreamLimiter(10, 1)) as service:
            async with service.reading(Authorization=f"Bearer {token_of('one', 1)}") as reader:
                await reader.until(b"event: sync")
                answer = await service.get(Authorization=f"Bearer {token_of('one', 2)}")
                assert (answer.status, answer.headers["Retry-After"]) == (429, "10")
                assert answer.content_type == "application/problem+json"
                assert "one stream without a filter" in (await answer.json(content_type=None))["detail"]
                async with service.reading(Authorization=f"Bearer {token_of('two', 1)}") as other:
                    await other.until(b"event: sync")
                for opaque in ("opaque-a", "opaque-b"):
                    async with service.reading(Authorization=f"Bearer {opaque}") as other:
                        await other.until(b"event: sync")
            async with asyncio.timeout(60):
                again = {"Authorization": f"Bearer {token_of('one', 3)}"}
                while (await service.get(**again)).status != 200:  # noqa: ASYNC110 -- another server's state
                    await asyncio.sleep(0.01)
        await api.close()


async def test_a_stream_is_no_longer_counted_once_its_client_has_disconnected() -> None:
    """Before the next heartbeat, whose write fails: otherwise many short streams would reach the limit."""
    limiter = StreamLimiter(5, 5)
    async with serving(limiter=limiter, heartbeat=3600) as service:
        for _ in range(50):
            async with service.reading() as reader:
                await reader.until(b"event: sync")
                reader.response.close()
            async with asyncio.timeout(60):
                while limiter.open:  # noqa: ASYNC110 -- another task's state
                    await asyncio.sleep(0)
        assert limiter.refused == 0


async def test_changes_between_two_writes_are_sent_once() -> None:
    async with serving(min_interval=1) as service, service.reading() as reader:
        await reader.until(b"event: sync")
        for version in range(1, 100):
            service.board.on_event("MODIFIED", document("busy", version, Started(MODEL, version)))
            await asyncio.sleep(0)
        await reader.until(b"id: 99")
        assert reader.body.count(b"event: progress") <= 3
