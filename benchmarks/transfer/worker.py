"""The worker as the operator runs it: one warm process that receives a plan."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import cpu_seconds, peak_bytes
from benchmarks.transfer.hub import Hub
from benchmarks.transfer.measure import Cost
from benchmarks.transfer.model import FILE, REPOSITORY
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol.codec import decode_answer, encode_request
from model_provisioner.worker_protocol.messages import Answer, Fetch, Progress, Published, VerifyingAnswer


class Worker:
    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    def fetch(self, hub: Hub, directory: Path, connections: int) -> Cost:
        """The cost, with that of the worker's children; its `peak` is since they started.

        Raises RuntimeError if the file is not published.
        """
        began, cpu, peak = time.perf_counter(), cpu_seconds(self._process.pid), 0
        self._ask(hub, directory, connections)
        while isinstance(answer := self._answer(), Progress | VerifyingAnswer):
            peak = max(peak, peak_bytes(self._process.pid))  # a child may have ended when the file is published
        if not isinstance(answer, Published):
            raise RuntimeError(f"the worker answered {answer}")  # noqa: TRY004 - an answer is no argument
        wall = time.perf_counter() - began
        used = cpu_seconds(self._process.pid) - cpu
        return Cost(wall, used, max(peak, peak_bytes(self._process.pid)))

    def fetch_until_killed(self, hub: Hub, directory: Path, connections: int, at: int) -> None:
        """Kills the worker when it reports `at` bytes. Raises RuntimeError if it ends before."""
        self._ask(hub, directory, connections)
        while not isinstance(answer := self._answer(), Progress) or answer.bytes < at:
            if not isinstance(answer, Progress | VerifyingAnswer):
                raise RuntimeError(f"the worker answered {answer} before it could be killed")  # noqa: TRY004
        self._process.kill()
        self._process.wait()

    def _ask(self, hub: Hub, directory: Path, connections: int) -> None:
        assert self._process.stdin
        store = StoreRef(str(directory), None)
        request = Fetch("1", store, Holder("uid", "models", "model"), plan_of(hub), connections, None, 1)
        self._process.stdin.write(encode_request(request))
        self._process.stdin.flush()

    def _answer(self) -> Answer:
        assert self._process.stdout
        return decode_answer(self._process.stdout.readline())


def plan_of(hub: Hub) -> Plan:
    digest = Digest.parse(f"sha256:{hub.model.sha256}")
    file = PlannedFile(f"hf/{REPOSITORY}/{FILE}", hub.model.size, digest, f"hf:{REPOSITORY}:{FILE}", hub.url)
    return Plan(f"hf:{REPOSITORY}", "main", (file,))


@contextlib.contextmanager
def running(hub: Hub) -> Iterator[Worker]:
    """A worker that is warm when the block begins. It ends when its standard input is closed."""
    flags = ("--worker", "--ca-file", str(hub.ca_file), "--allow-host", hub.host)
    command = (*hub.command_prefix, sys.executable, "-m", "model_provisioner.cli", "fetch", *flags)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            _wait_until_idle(process.pid)
            yield Worker(process)
        finally:
            assert process.stdin
            with contextlib.suppress(OSError):
                process.stdin.close()


def _wait_until_idle(pid: int) -> None:
    """A worker does not report that it is ready. It is when it uses no CPU time for a while."""
    before = -1.0
    while (now := cpu_seconds(pid)) != before or now == 0:
        before = now
        time.sleep(0.3)
