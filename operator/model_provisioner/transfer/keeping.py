"""What is asked of the keeper but for the reading of files (`verification`): all that reads or writes records.

Each request opens its store anew, because a volume may be another by now; what was read of its records is remembered
(see `holderfiles`). Called by a worker, in a thread.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from model_provisioner.transfer import protocol
from model_provisioner.transfer.holderfiles import Remembered
from model_provisioner.transfer.protocol import Answer, Task
from model_provisioner.transfer.store import Store, Swept


class Opener:
    """Opens stores for one process."""

    def __init__(self) -> None:
        self._remembered = defaultdict[str, Remembered](Remembered)

    def open(self, reference: protocol.StoreRef) -> Store:
        """See `Store.open`."""
        remembered = self._remembered[reference.directory]
        return Store.open(Path(reference.directory), reference.id, reference.modes, remembered)

    @contextmanager
    def found(self, reference: protocol.StoreRef) -> Iterator[Store | None]:
        """For what only looks or takes away: no store is made for that."""
        remembered = self._remembered[reference.directory]
        store = Store.find(Path(reference.directory), reference.id, remembered)
        with store or nullcontext():
            yield store


def keep(request: Task, opener: Opener) -> Answer:
    """Raises ProvisionError."""
    return _ANSWERS[type(request)](request, opener)


def _settle(request: protocol.Settle, opener: Opener) -> Answer:
    with opener.open(request.store) as store:
        plan = store.settle(request.holder, request.plan, request.delete)
        return protocol.Settled(request.id, store.id, plan, store.durable_bytes(plan))


def _check(request: protocol.Check, opener: Opener) -> Answer:
    with opener.open(request.store) as store:
        found = store.check(request.files, request.holder)
        return protocol.Checked(request.id, found.missing, found.unvouched, found.disproved)


def _measure(request: protocol.Measure, opener: Opener) -> Answer:
    with opener.open(request.store) as store:
        room = store.room((), request.plan.files)
        return protocol.Measured(request.id, room.needed, room.free)


def _disprove(request: protocol.Disprove, opener: Opener) -> Answer:
    with opener.open(request.store) as store:
        store.disprove(request.paths)
        return protocol.Disproved(request.id)


def _remove(request: protocol.Remove, opener: Opener) -> Answer:
    with opener.found(request.store) as store:
        paths = store.remove(request.uid, request.delete) if store else ()
        return protocol.Removed(request.id, paths)


def _sweep(request: protocol.Sweep, opener: Opener) -> Answer:
    with opener.found(request.store) as store:
        swept = store.sweep(frozenset(request.namespaces), frozenset(request.uids)) if store else Swept()
        return protocol.Swept(request.id, swept.parts, swept.records)


def _survey(request: protocol.Survey, opener: Opener) -> Answer:
    with opener.found(request.store) as store:
        return protocol.Surveyed(request.id, store.usage() if store else None)


_ANSWERS: Mapping[type[Task], Callable[[Any, Opener], Answer]] = {
    protocol.Settle: _settle,
    protocol.Check: _check,
    protocol.Measure: _measure,
    protocol.Disprove: _disprove,
    protocol.Remove: _remove,
    protocol.Sweep: _sweep,
    protocol.Survey: _survey,
}
