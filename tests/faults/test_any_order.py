"""Faults in any order during a transfer: a published file is right, and bytes are not fetched without need."""

import asyncio
import contextlib
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from model_provisioner.domain.store.plan import Plan
from model_provisioner.worker_protocol.messages import (
    Answer,
    Cancel,
    Cancelled,
    FailedAnswer,
    Limit,
    Progress,
    Published,
)
from tests.faults.campaign import LONG
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.transfer.bench import MODEL, NAME, Bench
from tests.transfer.worker_process import WorkerProcess, fetch_request, worker_process

MIB = 1024**2
SIZE = 20 * MIB
BOUND = 64 * MIB  # bytes that a kill may cost
VERSIONS = 3
CONNECTIONS = st.sampled_from([1, 4, 8])


class Transfer(RuleBasedStateMachine):
    """One object's transfer by a worker that is killed and started again. The rules act as the operator."""

    @initialize()
    def begin(self) -> None:
        self.closing = contextlib.ExitStack()
        self.root = Path(self.closing.enter_context(tempfile.TemporaryDirectory()))
        self.hub = self.closing.enter_context(Hub())
        self.process = contextlib.ExitStack()
        self.worker: WorkerProcess | None = None
        self.running: Plan | None = None
        self.version = 0
        self.epoch = self.kills = 0
        self.allowed = 0  # bytes that the hub may have sent
        self.plans: dict[str, bytes] = {}  # the content that the file of each plan must have, by digest
        self._offer(0)

    def teardown(self) -> None:
        if hasattr(self, "closing"):
            self.process.close()
            self.closing.close()

    def _offer(self, version: int) -> None:
        """Replaces the remote file."""
        self.version = version
        content = tiny_gguf(size=SIZE, seed=version)
        self.hub.repository(NAME).add(MODEL, content)
        self.plan = asyncio.run(Bench(self.hub, self.root).resolve())
        self.plans[str(self.plan.files[0].digest)] = content
        self.allowed += len(content)

    def _worker(self) -> WorkerProcess:
        if self.worker is None:
            self.process = contextlib.ExitStack()
            self.worker = self.process.enter_context(worker_process(self.hub))
            self.epoch += 1
        return self.worker

    @rule(connections=CONNECTIONS, rate=st.sampled_from([None, 8 * MIB, 100 * MIB]))
    @precondition(lambda self: not self.running)
    def start(self, connections: int, rate: int | None) -> None:
        worker = self._worker()
        worker.progress.clear()
        worker.send(
            fetch_request(self.root, self.plan, connections=connections, bytes_per_second=rate, epoch=self.epoch)
        )
        self.running = self.plan

    @rule(connections=CONNECTIONS, rate=st.sampled_from([None, 8 * MIB]))
    @precondition(lambda self: self.running)
    def change_limits(self, connections: int, rate: int | None) -> None:
        self._worker().send(Limit("fetch", connections, rate))

    @rule(size=st.integers(0, SIZE))
    @precondition(lambda self: self.running)
    def wait_for_bytes(self, size: int) -> None:
        """Waits until `size` bytes are written, or the transfer has ended."""
        worker = self._worker()
        worker.wait_until(lambda: worker.has_answer or any(line.bytes >= size for line in worker.progress))

    @rule()
    @precondition(lambda self: self.worker)
    def kill(self) -> None:
        worker = self._worker()
        worker.process.kill()
        worker.process.wait()
        self.process.close()
        self.check_progress(worker)
        self.worker = self.running = None
        self.allowed += BOUND

    @rule()
    @precondition(lambda self: self.running)
    def cancel(self) -> None:
        worker = self._worker()
        worker.send(Cancel("fetch"))
        self.ended(worker.answer())

    @rule()
    @precondition(lambda self: self.running)
    def finish(self) -> None:
        self.ended(self._worker().answer())

    @rule(version=st.integers(0, VERSIONS - 1))
    def change_the_remote_file(self, version: int) -> None:
        self._offer(version)

    @rule(size=st.integers(0, SIZE))
    def reset_a_connection(self, size: int) -> None:
        self.hub.reset_after(size, times=1)
        self.allowed += MIB  # bytes in flight

    @rule(offset=st.integers(SIZE // 2, SIZE - 1))
    def corrupt_a_byte(self, offset: int) -> None:
        self.hub.corrupt(MODEL, offset, times=1)
        self.allowed += 2 * SIZE  # fetched once more, also if the part was dropped

    @rule(status=st.sampled_from([403, 429, 500, 503]))
    def refuse_a_request(self, status: int) -> None:
        self.hub.fail(status, times=1)

    @rule()
    @precondition(lambda self: not self.running)
    def lose_the_published_file(self) -> None:
        for path in files_below(self.root):
            (self.root / path).unlink()
            self.allowed += 2 * SIZE

    def ended(self, answer: Answer) -> None:
        assert self.running
        self.check_progress(self._worker())
        digest = str(self.running.files[0].digest)
        self.running = None
        assert isinstance(answer, Published | FailedAnswer | Cancelled)
        if isinstance(answer, Published):
            assert answer.files[0].digest == digest
            assert (self.root / answer.files[0].path).read_bytes() == self.plans[digest]
        elif isinstance(answer, FailedAnswer):
            assert answer.reason not in {"InternalError", "NotGGUF"}, answer
            self.allowed += BOUND

    def check_progress(self, worker: WorkerProcess) -> None:
        """Progress never falls while `restarts` stays the same."""
        furthest: dict[int, int] = {}
        for line in worker.progress:
            if isinstance(line, Progress):
                assert line.bytes >= furthest.get(line.restarts, 0)
                furthest[line.restarts] = line.bytes

    @invariant()
    def nothing_wrong_is_published(self) -> None:
        if hasattr(self, "root"):
            path = self.plan.files[0].path
            assert files_below(self.root) <= {path}
            if files_below(self.root):
                assert (self.root / path).read_bytes() in self.plans.values()

    @invariant()
    def bytes_are_not_fetched_without_need(self) -> None:
        if hasattr(self, "hub"):
            assert self.hub.bytes_sent() <= self.allowed


TestTransfer = Transfer.TestCase
TestTransfer.settings = settings(
    max_examples=30 if LONG else 10,
    stateful_step_count=30 if LONG else 10,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
)
