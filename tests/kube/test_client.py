"""Refusals and outages of an API server as `ApiError`, with a server that can send any response."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from kubernetes.aio.client import Configuration
from kubernetes.aio.config.config_exception import ConfigException

from model_provisioner.kube.client import ApiError, KubeApi
from tests.kube import watch_server
from tests.support.programs import free_port


@asynccontextmanager
async def answering(response: web.Response) -> AsyncIterator[KubeApi]:
    async def answer(_request: web.Request) -> web.Response:
        return response

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    async with TestServer(app) as server:
        api = client(str(server.make_url("")).rstrip("/"))
        yield api
        await api.close()


def client(host: str) -> KubeApi:
    configuration = Configuration()
    configuration.host = host
    return KubeApi(configuration, aiohttp.ClientSession())


async def test_a_refusal_is_told_in_the_api_servers_own_words() -> None:
    status = {"kind": "Status", "reason": "TooManyRequests", "message": "slow down", "code": 429}
    async with answering(web.json_response(status, status=429, headers={"Retry-After": "7"})) as api:
        with pytest.raises(ApiError) as refused:
            await api.get("/things")
    error = refused.value
    assert (error.status, error.reason, error.message, error.retry_after) == (429, "TooManyRequests", "slow down", 7)


@pytest.mark.parametrize("text", ["", "<html>Bad Gateway</html>", "[]", '"x"'])
async def test_an_answer_from_something_in_between_is_an_error_too(text: str) -> None:
    async with answering(web.Response(text=text, status=502)) as api:
        with pytest.raises(ApiError) as refused:
            await api.get("/things")
    assert (refused.value.status, refused.value.reason) == (502, "Bad Gateway")
    assert refused.value.retry_after is None


async def test_a_retry_after_that_is_a_date_is_left_out() -> None:
    late = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    async with answering(web.json_response({}, status=503, headers=late)) as api:
        with pytest.raises(ApiError) as refused:
            await api.get("/things")
    assert refused.value.retry_after is None


async def test_nobody_there_is_status_0() -> None:
    api = client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ApiError) as refused:
        await api.get("/things")
    assert (refused.value.status, refused.value.reason) == (0, "Unreachable")
    await api.close()


async def test_a_token_that_can_not_be_read_now_is_status_0_too() -> None:
    """As in the middle of a rotation: the caller gets an ApiError, as for any other failure."""

    def half_written(_: Configuration) -> None:
        raise ConfigException("Token file exists but empty.")

    async with answering(web.json_response({})) as api:
        api._configuration.refresh_api_key_hook = half_written  # type: ignore[assignment]
        with pytest.raises(ApiError) as refused:
            await api.get("/things")
        with pytest.raises(ApiError):
            [event async for event in api.watch("/things", {}, 1)]
    assert (refused.value.status, refused.value.reason) == (0, "NoIdentity")


async def test_many_watches_leave_place_for_requests(tmp_path: Path) -> None:
    async with watch_server.serving(watch_server.WatchServer([{}], [[None]]), tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        watches = [asyncio.create_task(_follow(api)) for _ in range(150)]
        async with asyncio.timeout(60):  # a request that finds no place fails after the connect timeout of ten seconds
            await asyncio.gather(*(api.get("/things") for _ in range(250)))
        for watch in watches:
            watch.cancel()
        await asyncio.wait(watches)
        await api.close()


async def _follow(api: KubeApi) -> None:
    async for _ in api.watch("/things", {}, 60):
        pass
