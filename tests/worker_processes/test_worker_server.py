"""Workers are forked when they are needed and end when they idle; the death of any process is survived."""

import asyncio
import contextlib
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import pytest

from model_provisioner.controller.workers.pool import WorkerPool, worker_command
from model_provisioner.domain.errors import InternalError, ProvisionError
from model_provisioner.domain.scheduling.lanes import Lane
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.settings.operator import OperatorSettings
from model_provisioner.worker_processes import worker_server
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_processes.worker_server import WorkerServer
from model_provisioner.worker_protocol.forking import Role
from model_provisioner.worker_protocol.messages import Identified, Identify, Resolve
from tests.support.programs import descendants, eventually, runs

CLAIM = Claim("ai", "models")
NOT_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="/proc and PDEATHSIG")
HUNGRY = """
from model_provisioner.transfer.http.client import NetworkSettings
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.transfer.worker import worker_server

async def eat(_, request):
    return bytearray(1024**3)

Resolver.resolve = eat
worker_server.run(NetworkSettings(), 320 * 1024**2)
"""
OPERATOR = """
import asyncio
from model_provisioner.worker_processes.worker_server import WorkerServer
from model_provisioner.worker_protocol.forking import Role

async def main():
    server = WorkerServer({command!r})
    workers = [await server.launch(role) for role in Role]
    print(server._process.pid, *(worker.pid for worker in workers), flush=True)
    await asyncio.sleep(1000)

asyncio.run(main())
"""


def settings(**changes: object) -> OperatorSettings:
    return OperatorSettings.model_validate({"store": ["ai/models=/models"], **changes})


@pytest.fixture
async def server() -> AsyncIterator[WorkerServer]:
    server = WorkerServer(worker_command(settings()))
    try:
        yield server
    finally:
        await server.stop()


@contextlib.asynccontextmanager
async def worker_of(server: WorkerServer, role: Role = Role.STORE) -> AsyncIterator[WorkerProcess]:
    worker = WorkerProcess(partial(server.launch, role))
    try:
        yield worker
    finally:
        await worker.stop()


async def answer(worker: WorkerProcess, directory: Path, number: int = 0) -> bool:
    """Whether the worker answers that there is no store in `directory`."""
    found = await worker.call(Identify(str(number), StoreRef(str(directory), None), ()), seconds=30)
    return found == Identified(str(number), None)


def server_pid(server: WorkerServer) -> int:
    assert server._process
    return server._process.pid


async def all_end(pids: list[int]) -> None:
    await until(lambda: not any(map(runs, pids)))


async def until(condition: Callable[[], bool]) -> None:
    """Raises AssertionError if `condition` is not true within a minute."""
    await asyncio.to_thread(eventually, condition, "processes are as expected")


def name_of(pid: int) -> str:
    """What ps(1) shows as the command."""
    return Path(f"/proc/{pid}/comm").read_text().strip()


def descriptors(pid: int) -> int:
    return len([*Path(f"/proc/{pid}/fd").iterdir()])


@NOT_LINUX
@pytest.mark.parametrize(
    ("role", "name", "bytes_of_memory"),
    [
        (Role.FETCHER, "model-fetcher", None),
        (Role.STORE, "model-store", None),
        (Role.RESOLVER, "model-resolver", 320 * 1024**2),
    ],
)
async def test_each_role_has_its_name_and_its_memory(
    server: WorkerServer, tmp_path: Path, role: Role, name: str, bytes_of_memory: int | None
) -> None:
    async with worker_of(server, role) as worker:
        assert await answer(worker, tmp_path)
        pid = (await worker.start()).pid
        assert descendants(server_pid(server)) == [pid]
        assert name_of(pid) == name
        assert name_of(server_pid(server)) == "model-workers"
        unlimited = resource.prlimit(server_pid(server), resource.RLIMIT_DATA)[0]
        assert resource.prlimit(pid, resource.RLIMIT_DATA)[0] == (bytes_of_memory or unlimited)


@NOT_LINUX
async def test_two_hundred_workers_leave_no_process_and_no_descriptor(server: WorkerServer, tmp_path: Path) -> None:
    async with worker_of(server) as lasting, worker_of(server) as passing:
        assert await answer(lasting, tmp_path)
        assert await answer(passing, tmp_path)
        await passing.stop()
        own, servers = descriptors(os.getpid()), descriptors(server_pid(server))
        for number in range(200):
            process = await passing.start()
            if number % 20 == 0:
                assert await answer(passing, tmp_path, number)
                in_worker = descriptors((await lasting.start()).pid)
                assert descriptors(process.pid) <= in_worker, "it holds none of other workers"
            if number % 2:
                await passing.stop()
            else:
                process.kill()
                await process.wait()
        assert descendants(server_pid(server)) == [(await lasting.start()).pid]
        await until(lambda: descriptors(os.getpid()) <= own)
        await until(lambda: descriptors(server_pid(server)) <= servers)  # it reports an end, then closes the socket


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
async def test_a_killed_worker_fails_its_requests_and_is_replaced(
    server: WorkerServer, tmp_path: Path, number: signal.Signals
) -> None:
    async with worker_of(server, Role.RESOLVER) as worker:
        first = await worker.start()
        os.kill(first.pid, signal.SIGSTOP)  # so that it can't answer before it is killed
        calling = asyncio.create_task(answer(worker, tmp_path))
        await asyncio.sleep(0)
        os.kill(first.pid, number)
        os.kill(first.pid, signal.SIGCONT)
        with pytest.raises(InternalError, match=rf"ended unexpectedly \({number.name}\)"):
            await calling
        assert first.returncode == -number
        assert await answer(worker, tmp_path)
        assert (await worker.start()).pid != first.pid


async def test_a_worker_that_needs_too_much_memory_says_so(tmp_path: Path) -> None:
    server = WorkerServer([sys.executable, "-c", HUNGRY])
    async with worker_of(server, Role.RESOLVER) as worker:
        with pytest.raises(InternalError, match=r"ended unexpectedly \(it needed more memory than it may have"):
            await worker.call(Resolve("1", "hf:acme/m", "https://hub.example"), seconds=60)
        assert await answer(worker, tmp_path), "the server has survived"
    await server.stop()


@NOT_LINUX
async def test_workers_die_with_their_server_and_both_are_replaced(server: WorkerServer, tmp_path: Path) -> None:
    await server.start()
    async with worker_of(server) as worker, worker_of(server) as idle:
        first, former = server_pid(server), [(await one.start()).pid for one in (worker, idle)]
        os.kill(former[0], signal.SIGSTOP)
        calling = asyncio.create_task(answer(worker, tmp_path))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(InternalError, match=r"ended unexpectedly \(SIGKILL\)"):
            await calling
        await all_end([first, *former])
        assert await answer(worker, tmp_path)
        assert await answer(idle, tmp_path)
        assert server_pid(server) != first


@NOT_LINUX
@pytest.mark.parametrize("victim", [0, 1])
async def test_no_process_outlives_the_operator_or_the_server(victim: int) -> None:
    """Not even one that is stopped: no second writer may be left."""
    script = OPERATOR.format(command=worker_command(settings()))
    operator = await asyncio.create_subprocess_exec(sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE)
    assert operator.stdout
    pids = list(map(int, (await operator.stdout.readline()).split()))
    assert len(pids) == 1 + len(Role)
    os.kill(pids[-1], signal.SIGSTOP)
    os.kill([operator.pid, pids[0]][victim], signal.SIGKILL)
    await all_end(pids)
    if victim:
        operator.kill()
    await operator.wait()


@NOT_LINUX
async def test_a_server_that_hangs_is_replaced(
    server: WorkerServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with worker_of(server) as worker:
        assert await answer(worker, tmp_path)
        first = server_pid(server)
        await worker.stop()
        os.kill(first, signal.SIGSTOP)
        with monkeypatch.context() as short:
            short.setattr(worker_server, "_FORK_SECONDS", 0.2)
            short.setattr(worker_server, "_EXIT_SECONDS", 0.2)
            with pytest.raises(InternalError, match="no worker could be started"):
                await answer(worker, tmp_path)
        assert await answer(worker, tmp_path)
        await all_end([first])


async def test_a_server_that_cannot_start_fails_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_server, "_RESTART_SECONDS", 0.1)
    server = WorkerServer([sys.executable, "-c", "raise SystemExit(1)"])
    async with worker_of(server) as worker:
        with pytest.raises(InternalError, match="no worker could be started"):
            await answer(worker, tmp_path)
    await server.stop()


@NOT_LINUX
async def test_a_worker_ends_when_it_has_idled(server: WorkerServer, tmp_path: Path) -> None:
    now = 0.0
    worker = WorkerProcess(partial(server.launch, Role.FETCHER), lambda: now)
    process = await worker.start()
    calling = asyncio.create_task(answer(worker, tmp_path))
    await asyncio.sleep(0)
    now = 100.0
    await worker.retire(60)
    assert not worker.has_idled(0)
    assert await calling, "it is not idle while it has a request"
    now = 159.0
    await worker.retire(60)
    assert runs(process.pid)
    assert (worker.has_idled(59), worker.has_idled(60)) == (True, False)
    now = 160.0
    await worker.retire(60)
    assert not worker.has_idled(0), "there is none"
    assert process.returncode == 0
    assert await answer(worker, tmp_path)
    await worker.stop()


@NOT_LINUX
async def test_a_request_that_comes_while_a_worker_ends_is_answered(server: WorkerServer, tmp_path: Path) -> None:
    async with worker_of(server) as worker:
        former = await worker.start()
        os.kill(former.pid, signal.SIGSTOP)  # its end takes as long as this test wants
        ending = asyncio.create_task(worker.retire(0))
        await asyncio.sleep(0)
        assert await answer(worker, tmp_path)
        assert runs(former.pid)
        os.kill(former.pid, signal.SIGCONT)
        await ending
        assert former.returncode == 0
        assert (await worker.start()).returncode is None


@NOT_LINUX
async def test_a_pool_at_rest_has_its_server_only(tmp_path: Path) -> None:
    looks = asyncio.Queue[None]()
    pool = WorkerPool(settings(), [CLAIM], lambda _: looks.get())
    await pool.start()
    running = asyncio.create_task(pool.run())
    try:
        workers = [*pool.slots[Lane.FETCHING], *pool.slots[Lane.HASHING], pool.store_workers[CLAIM], pool.resolver]
        for worker in workers:
            assert await answer(worker, tmp_path)
            worker._monotonic = lambda: float("inf")
        pids = descendants(server_pid(pool._server))
        assert len(pids) == len(workers)
        looks.put_nowait(None)
        await all_end(pids)
        assert runs(server_pid(pool._server))
        assert await answer(pool.resolver, tmp_path)
    finally:
        running.cancel()
        await pool.stop()


@NOT_LINUX
async def test_a_new_object_has_its_workers_forked_before_they_are_asked() -> None:
    pool = WorkerPool(settings(), [CLAIM, Claim("other", "models")])
    known = {"metadata": {"namespace": CLAIM.namespace}, "status": {"attempts": 1}}
    new = {"metadata": {"namespace": CLAIM.namespace}}
    await pool.start()
    try:
        for kind, document in (("ADDED", known), ("MODIFIED", new), ("DELETED", new)):
            pool.on_event(kind, document)
        assert not pool._preparing
        pool.on_event("ADDED", new)
        await asyncio.gather(*pool._preparing)
        names = sorted(map(name_of, descendants(server_pid(pool._server))))
        assert names == ["model-fetcher", "model-resolver", "model-store"]
        assert pool.slots[Lane.FETCHING][0].is_running
        assert pool.store_workers[CLAIM].is_running
        pool.on_event("ADDED", new)
        assert not pool._preparing, "they run"
    finally:
        await pool.stop()


async def test_the_random_numbers_of_two_workers_differ() -> None:
    """OpenSSL and Python seed their generators again after a fork: the first message of TLS has 32 random bytes."""
    hellos: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hellos.put_nowait((await reader.readexactly(43))[11:])
        writer.close()

    async with await asyncio.start_server(hear, "127.0.0.1") as listener:
        origin = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        server = WorkerServer(worker_command(settings(endpoint=origin)))
        found: list[bytes] = []
        for number in range(2):
            async with worker_of(server, Role.RESOLVER) as worker:
                request = Resolve(str(number), "hf:acme/m", origin)
                calling = asyncio.create_task(worker.call(request, seconds=60))
                async with asyncio.timeout(60):
                    found.append(await hellos.get())
                calling.cancel()
                with contextlib.suppress(asyncio.CancelledError, ProvisionError):
                    await calling
        await server.stop()
    first, second = found
    assert first != second
    assert len(set(first)) > 8
