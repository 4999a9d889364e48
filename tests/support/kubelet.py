"""Keeps one operator of a stand running as a kubelet does: a container that ends is started again, by the same name.

For tests in which an end of the process is allowed, or brought about.
"""

import threading
import time
from types import TracebackType
from typing import Self

from tests.support.programs import Program
from tests.support.stand import Stand

_POD = {"POD_NAME": "the-operator"}


class Kubelet:
    """`exits` has the exit code of every operator that has ended by itself or by a signal, but for the last.

    `started` is when the last one was started, in seconds of the monotonic clock.
    """

    def __init__(self, stand: Stand, *flags: str, module: str = "model_provisioner.cli") -> None:
        self.exits: list[int] = []
        self._stand = stand
        self._flags = flags
        self._module = module
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self.operator = self._start()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self.operator.kill()
        self._thread.join(10)

    def _start(self) -> Program:
        self.started = time.monotonic()
        return self._stand.start_operator(*self._flags, environment=_POD, module=self._module)

    def _run(self) -> None:
        while True:
            code = self.operator.process.wait()
            if self._over.is_set():
                return
            self.exits.append(code)
            self.operator = self._start()
