"""Keeps one operator of a stand running as a kubelet does: it is started again, with the same pod name, when it ends.

Called by tests in which the operator may end, or is killed.
"""

import threading
import time
from types import TracebackType
from typing import Self

from tests.support.programs import Program
from tests.support.stand import Stand

_POD = {"POD_NAME": "the-operator"}


class Kubelet:
    """`flags` and `module` are those of `Stand.start_operator`.

    `operator` is the present process, `exits` has the exit codes of those before it, and `started` is the start of the
    present one in seconds of the monotonic clock.
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
