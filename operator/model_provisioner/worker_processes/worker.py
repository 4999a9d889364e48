"""A worker as the rest of the operator sees it: what calls it does not know where it runs.

`worker_processes.child_process` has the implementation for a child process; that for a pod is
`controller.workers.worker_pod`.
"""

from collections.abc import Callable
from typing import Protocol

from model_provisioner.worker_protocol.messages import (
    AddressGiven,
    AddressWanted,
    Answer,
    Limit,
    Progress,
    Request,
    VerifyingAnswer,
)

ProgressHandler = Callable[[Progress | VerifyingAnswer], None]
AddressHandler = Callable[[AddressWanted], None]


def ignore_progress(_: Progress | VerifyingAnswer) -> None:
    """The handler of a caller that waits for the final answer only."""


def ignore_question(_: AddressWanted) -> None:
    """The handler of a caller whose request fetches nothing, so that no address is asked for."""


class Worker(Protocol):
    """Handles any number of requests at one time. It starts by itself when it is needed."""

    async def call(
        self,
        request: Request,
        on_progress: ProgressHandler = ignore_progress,
        seconds: float | None = None,
        silence: float | None = None,
        on_address: AddressHandler = ignore_question,
    ) -> Answer:
        """Returns the final answer to `request`.

        Progress messages go to `on_progress`, questions for the address of a file to `on_address`.

        Raises the ProvisionError that the worker reports. Raises InternalError if the worker dies, takes more than
        `seconds`, or sends no message about the request for `silence` seconds; in the last two cases it is killed and
        replaced. If the caller is cancelled, the worker gets a Cancel and three seconds to write its journal.
        """
        ...

    def notify(self, request: Limit | AddressGiven) -> None:
        """Sends a request that has no answer. It is lost if the worker has died, like the fetch that it belongs to."""
        ...

    async def start(self) -> object:
        """Starts the worker unless it runs. `call` does it too. Raises InternalError if it can't be started."""
        ...

    async def stop(self) -> None:
        """Ends the worker and its requests. A later request starts it again."""
        ...
