"""The worker as the operator runs it: one warm process that receives a plan."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks.processes import cpu_seconds, peak_bytes
from benchmarks.transfer.hub import Hub
from benchmarks.transfer.measure import Cost
from benchmarks.transfer.model import FILE, REPOSITORY
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol.codec import decode_answer, encode_request
from model_provisioner.worker_protocol.messages import (
    AddressGiven,
    AddressWanted,
    Answer,
    Fetch,
    Progress,
    Published,
    Request,
    VerifyingAnswer,
)

Locate = Callable[[PlannedFile], Address]
"""Says where a file is whose address is signed, as the operator does for its workers."""
HOLDER = Holder("uid", "models", "model")


class Worker:
    def __init__(self, process: "subprocess.Popen[bytes]", locate: Locate | None = None) -> None:
        self._process = process
        self._locate = locate

    @property
    def peak(self) -> int:
        """The peak of its resident memory in bytes so far, with its children; 0 if it has ended."""
        return peak_bytes(self._process.pid)

    def fetch(self, plan: Plan, directory: Path, connections: int) -> Cost:
        """The cost, with that of the worker's children; its `peak` is since they started.

        Raises RuntimeError if the file is not published.
        """
        began, cpu, peak = time.perf_counter(), cpu_seconds(self._process.pid), 0
        self._fetch(plan, directory, connections)
        while isinstance(answer := self._progress(plan), Progress | VerifyingAnswer):
            peak = max(peak, self.peak)  # a child may have ended when the file is published
        if not isinstance(answer, Published):
            raise RuntimeError(f"the worker answered {answer}")  # noqa: TRY004 - an answer is no argument
        wall = time.perf_counter() - began
        used = cpu_seconds(self._process.pid) - cpu
        return Cost(wall, used, max(peak, self.peak))

    def fetch_until_killed(self, plan: Plan, directory: Path, connections: int, at: int) -> int:
        """Kills the worker when it reports `at` bytes, and returns its peak memory. Raises RuntimeError if it ends
        before.
        """
        self._fetch(plan, directory, connections)
        while not isinstance(answer := self._progress(plan), Progress) or answer.bytes < at:
            if not isinstance(answer, Progress | VerifyingAnswer):
                raise RuntimeError(f"the worker answered {answer} before it could be killed")  # noqa: TRY004
        peak = self.peak
        self._process.kill()
        self._process.wait()
        return peak

    def ask(self, request: Request) -> Answer:
        """The answer to a request that has one."""
        self._send(request)
        return self._answer()

    def _fetch(self, plan: Plan, directory: Path, connections: int) -> None:
        self._send(Fetch("1", StoreRef(str(directory), None), HOLDER, plan, connections, None, 1))

    def _progress(self, plan: Plan) -> Answer:
        """The next answer that is no question for an address; those are answered."""
        while isinstance(answer := self._answer(), AddressWanted):
            assert self._locate
            (file,) = (one for one in plan.files if one.path == answer.path)
            self._send(AddressGiven(answer.id, answer.path, self._locate(file)))
        return answer

    def _send(self, request: Request) -> None:
        assert self._process.stdin
        self._process.stdin.write(encode_request(request))
        self._process.stdin.flush()

    def _answer(self) -> Answer:
        assert self._process.stdout
        return decode_answer(self._process.stdout.readline())


def plan_of(hub: Hub) -> Plan:
    digest = Digest.parse(f"sha256:{hub.model.sha256}")
    file = PlannedFile(f"hf/{REPOSITORY}/{FILE}", hub.model.size, digest, f"hf:{REPOSITORY}:{FILE}", hub.url)
    return Plan(f"hf:{REPOSITORY}", "main", (file,))


def running(hub: Hub) -> contextlib.AbstractContextManager[Worker]:
    """A worker for files of `hub`, that is warm when the block begins."""
    return started(("--ca-file", str(hub.ca_file), "--allow-host", hub.host), prefix=hub.command_prefix)


@contextlib.contextmanager
def started(flags: Sequence[str], locate: Locate | None = None, prefix: Sequence[str] = ()) -> Iterator[Worker]:
    """A worker that is warm when the block begins. It ends when its standard input is closed.

    `prefix` is put before its command.
    """
    command = (*prefix, sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker", *flags)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            _wait_until_idle(process.pid)
            yield Worker(process, locate)
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
