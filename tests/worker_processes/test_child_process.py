"""A worker in uninterruptible sleep, which no signal ends, fails only its own requests."""

import asyncio
import os
import resource
import signal
import sys
from asyncio.subprocess import Process
from pathlib import Path

import pytest

from model_provisioner.controller.stores.store_client import expect
from model_provisioner.domain.errors import InternalError, InvalidRef
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_processes import child_process
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_protocol.messages import Check, Checked, Resolve
from tests.support.worker_processes import worker_of

HUNGRY = """
from model_provisioner.transfer.http.client import NetworkSettings
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.transfer.worker import worker

async def eat(_, request):
    return bytearray(1024**3)

Resolver.resolve = eat
worker.run(NetworkSettings(), 320 * 1024**2)
"""
WORKER = f"{sys.executable} -m model_provisioner.cli fetch --worker"


@pytest.fixture
def hangs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    """A worker whose first process neither answers nor dies."""
    monkeypatch.setattr(child_process, "_EXIT_SECONDS", 0.2)
    marker = tmp_path / "began"
    script = f"if [ -e {marker} ]; then exec {WORKER}; else echo $$ > {marker}; exec sleep 1000; fi"
    kill = Process.kill

    def kill_others(process: Process) -> None:
        if str(process.pid) != marker.read_text().strip():
            kill(process)

    monkeypatch.setattr(Process, "kill", kill_others)
    return worker_of(["sh", "-c", script])


async def test_a_second_cancellation_does_not_end_the_wait_for_a_worker_that_stops(tmp_path: Path) -> None:
    """A caller may be cancelled twice, if two members leave a transfer; it must not return while the worker writes."""
    answer = '{"event": "failed", "id": "slow", "reason": "InternalError", "message": "stopped"}'
    stops, may_stop = "read request; read cancel; until [ -e {} ]; do sleep 0.05; done", tmp_path / "may-stop"
    worker = worker_of(["sh", "-c", f"{stops.format(may_stop)}; echo '{answer}'; read end"])
    calling = asyncio.create_task(worker.call(Check("slow", StoreRef("/nowhere", None), ())))
    await worker.start()
    await asyncio.sleep(0.1)
    for _ in range(3):
        calling.cancel()
        await asyncio.sleep(0.1)
        assert not calling.done()
    may_stop.touch()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert (await worker.start()).returncode is None, "it stopped in time and is not killed"
    await worker.stop()


async def test_all_its_requests_fail_and_the_next_process_is_not_affected(
    hangs_once: WorkerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "volume").mkdir()
    with Store.open(tmp_path / "volume", None) as store:
        store_ref = StoreRef(str(tmp_path / "volume"), store.id)
    without_timeout = asyncio.create_task(hangs_once.call(Check("without_timeout", store_ref, ())))
    with pytest.raises(InternalError, match=r"took longer than 1s|took longer than 0s"):
        await hangs_once.call(Check("with_timeout", store_ref, ()), seconds=0.5)
    with pytest.raises(InternalError, match="ended unexpectedly"):
        async with asyncio.timeout(60):
            await without_timeout
    first = int((tmp_path / "began").read_text())
    try:
        for number in range(2):
            assert expect(Checked, await hangs_once.call(Check(str(number), store_ref, ()), seconds=30)).missing == ()
        second = await hangs_once.start()
        assert second.pid != first
        monkeypatch.setattr(child_process, "_EXIT_SECONDS", 60)
        await hangs_once.stop()
        assert second.returncode == 0
    finally:
        os.kill(first, signal.SIGKILL)


async def test_a_line_that_is_too_long_fails_all_requests_at_once() -> None:
    """It would wait for the time of each request, because the process hangs in a pipe that is not read any more."""
    script = "read one; read two; head -c 20000000 /dev/zero | tr '\\0' x; exec sleep 1000"
    worker = worker_of(["sh", "-c", script])
    first = await worker.start()
    calls = [worker.call(Check(str(number), StoreRef("/nowhere", None), ()), seconds=60) for number in range(2)]
    async with asyncio.timeout(60):
        errors = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(error) for error in errors] == [InternalError, InternalError]
    assert {str(error) for error in errors} == {
        "the transfer process wrote a line of more than 16 MiB and was ended; what it had written is kept"
    }
    assert (await worker.start()).pid != first.pid
    await worker.stop()


async def test_a_resolver_that_needs_too_much_memory_dies_alone_and_is_started_again() -> None:
    worker = worker_of([sys.executable, "-c", HUNGRY])
    pids = []
    for number in range(2):
        pids.append((await worker.start()).pid)
        with pytest.raises(InternalError, match=r"ended unexpectedly \(it needed more memory than it may have"):
            await worker.call(Resolve(str(number), "hf:acme/m", "https://hub.example"), seconds=60)
    assert len(set(pids)) == 2
    await worker.stop()


async def test_the_resolver_has_a_limit_of_memory() -> None:
    worker = worker_of([*WORKER.split(), "--resolver"])
    process = await worker.start()
    with pytest.raises(InvalidRef):
        await worker.call(Resolve("1", "hf:no-repository", "https://hub.example"), seconds=60)
    assert resource.prlimit(process.pid, resource.RLIMIT_DATA)[0] == 320 * 1024**2
    await worker.stop()
