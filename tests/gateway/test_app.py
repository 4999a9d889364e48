"""The gateway as a whole: a write runs to its end, and a failed task ends the process."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from deploy.local.cluster import Cluster
from model_provisioner.gateway import app as gateway
from tests.support.programs import Program, free_port


@pytest.mark.parametrize(("method", "finished"), [("GET", False), ("POST", True), ("PATCH", True), ("DELETE", True)])
async def test_a_write_runs_to_its_end_if_its_client_disconnects(method: str, finished: bool) -> None:
    begun, left, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()
    done: list[str] = []

    @web.middleware
    async def notice(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except asyncio.CancelledError:
            left.set()
            raise

    async def work(request: web.Request) -> web.Response:
        begun.set()
        try:
            await left.wait()
            done.append(request.method)
        finally:
            ended.set()
        return web.Response()

    app = web.Application(middlewares=[notice, gateway._finish_writes()])
    app.router.add_route("*", "/", work)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        call = asyncio.create_task(session.request(method, f"http://127.0.0.1:{runner.addresses[0][1]}/"))
        await begun.wait()
        call.cancel()
        await asyncio.wait_for(ended.wait(), 30)
    await runner.cleanup()
    assert done == ([method] if finished else [])


def test_a_task_that_fails_ends_the_process(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """The kubelet restarts it. A gateway that no longer reads the Lease would present old figures as current."""
    arguments = [
        "gateway",
        f"--listen=127.0.0.1:{free_port()}",
        f"--kubeconfig={cluster.kubeconfig}",
        f"--watch-namespace={namespace}",
    ]
    program = Program(arguments, tmp_path / "gateway.log", module="tests.support.broken_gateway")
    try:
        assert program.process.wait(60) == 4
    finally:
        program.kill()
    assert "a bug of the test's" in program.output()
