"""How many may listen, and what whoever is one too many is told."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from model_provisioner.domain.lifecycle.events import Started
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.problems import Problem
from model_provisioner.gateway.stream.limiter import StreamLimiter
from model_provisioner.kube.client import KubeApi
from tests.gateway.streaming import document, serving
from tests.gateway.test_access import ALLOWED
from tests.kube import watch_server
from tests.support.samples import MODEL


def token_of(account: str, number: int) -> str:
    """A JSON Web Token as the API server issues them; each is another one."""
    claims = {"iss": "kubernetes", "sub": account, "jti": number}
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.signature"


def test_each_has_a_share_and_all_together_have_a_bound() -> None:
    seats = StreamLimiter(3, 2)
    with seats.take("a"), seats.take("a"):
        with pytest.raises(Problem, match="--max-streams-per-identity") as refused, seats.take("a"):
            pass
        assert (refused.value.status, refused.value.reason) == (429, "TooManyStreams")
        with seats.take("b"), pytest.raises(Problem, match=r"--max-streams$"), seats.take("c"):
            pass
    assert (seats.taken, seats.refused) == (0, 2)
    with seats.take("a"), seats.take("a"):
        assert seats.taken == 2


async def test_an_account_has_one_share_however_many_tokens_it_has(tmp_path: Path) -> None:
    reviews = watch_server.WatchServer([ALLOWED], [])
    async with watch_server.serving(reviews, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        access = Access(api, "models", open_to_all=False)
        async with serving(access, seats=StreamLimiter(10, 1)) as service:
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
            async with asyncio.timeout(5):
                again = {"Authorization": f"Bearer {token_of('one', 3)}"}
                while (await service.get(**again)).status != 200:  # noqa: ASYNC110 -- another server's state
                    await asyncio.sleep(0.01)
        await api.close()


async def test_a_seat_is_free_as_soon_as_its_client_has_gone() -> None:
    """Without waiting for the next heartbeat, which would fail: many who come and go would fill the house."""
    seats = StreamLimiter(5, 5)
    async with serving(seats=seats, heartbeat=3600) as service:
        for _ in range(50):
            async with service.reading() as reader:
                await reader.until(b"event: sync")
                reader.response.close()
            async with asyncio.timeout(5):
                while seats.taken:  # noqa: ASYNC110 -- another task's state
                    await asyncio.sleep(0)
        assert seats.refused == 0


async def test_what_changes_between_two_writes_is_told_once() -> None:
    async with serving(pace=0.2) as service, service.reading() as reader:
        await reader.until(b"event: sync")
        for version in range(1, 100):
            service.board.on_event("MODIFIED", document("busy", version, Started(MODEL, version)))
            await asyncio.sleep(0)
        await reader.until(b"id: 99")
        assert reader.body.count(b"event: progress") <= 3
