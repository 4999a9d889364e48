"""A real worker process, with requests and answers over pipes as the operator uses them."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.plan import Plan
from model_provisioner.worker_protocol.codec import decode_answer, encode_request
from model_provisioner.worker_protocol.messages import Answer, Fetch, Progress, Request, VerifyingAnswer
from tests.support.hub import Hub
from tests.transfer.bench import HOLDER

_ANSWER_SECONDS = 60


class WorkerProcess:
    """Reads answers in the background, so that the worker never waits for the test."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.progress: list[Progress | VerifyingAnswer] = []
        self._answers: Queue[Answer] = Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, request: Request) -> None:
        self.write(encode_request(request))

    def write(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def answer(self) -> Answer:
        """The next answer that is not progress."""
        return self._answers.get(timeout=_ANSWER_SECONDS)

    def ask(self, request: Request) -> Answer:
        self.send(request)
        return self.answer()

    @property
    def has_answer(self) -> bool:
        """Whether `answer` returns at once."""
        return not self._answers.empty()

    def wait_for_progress(self) -> None:
        self.wait_until(lambda: bool(self.progress))

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Waits until `condition` is true, which usually looks at `progress`."""
        deadline = time.monotonic() + _ANSWER_SECONDS
        while not condition():
            assert time.monotonic() < deadline, "no such progress was reported"
            time.sleep(0.01)

    @property
    def peak_bytes(self) -> int:
        """Peak resident memory (Linux)."""
        return self._status("VmHWM") * 1024

    def _status(self, key: str) -> int:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            answer = decode_answer(line)
            if isinstance(answer, Progress | VerifyingAnswer):
                self.progress.append(answer)
            else:
                self._answers.put(answer)


@contextmanager
def worker_process(hub: Hub, *flags: str) -> Iterator[WorkerProcess]:
    """A worker that may connect to `hub`. It is killed at the end if it still runs."""
    with subprocess.Popen([*command(hub), *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield WorkerProcess(process)
        finally:
            process.kill()


def command(hub: Hub) -> list[str]:
    flags = ["--worker", "--allow-host", "127.0.0.1", "--ca-file", str(hub.ca_file)]
    return [sys.executable, "-m", "model_provisioner.cli", "fetch", *flags]


def fetch_request(
    root: Path,
    plan: Plan,
    *,
    connections: int = 1,
    bytes_per_second: int | None = None,
    credentials: Credentials | None = None,
    epoch: int = 1,
) -> Fetch:
    store = StoreRef(str(root), None)
    return Fetch("fetch", store, HOLDER, plan, connections, bytes_per_second, epoch, credentials)
