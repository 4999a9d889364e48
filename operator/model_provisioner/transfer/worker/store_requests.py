"""The requests that a store worker handles, except `verify` (see `verification`).

Called by `worker` in a thread. Each request opens its store again, because another volume may be mounted by now; the
records that were read are cached (see `holder_records`). What a request means is documented in
`worker_protocol.messages`, how it is carried out in `transfer.store`.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.transfer.store.holder_records import RecordCache
from model_provisioner.transfer.store.records import SweepResult
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol import messages
from model_provisioner.worker_protocol.messages import Answer, Task


class StoreOpener:
    """Opens stores, with one cache of records for each directory that this process has opened."""

    def __init__(self) -> None:
        self._cache = defaultdict[str, RecordCache](RecordCache)

    def open(self, reference: StoreRef) -> Store:
        """`Store.open` with the cache. Raises as that does."""
        cache = self._cache[reference.directory]
        return Store.open(Path(reference.directory), reference.id, reference.modes, cache)

    @contextmanager
    def find(self, reference: StoreRef) -> Iterator[Store | None]:
        """`Store.find` with the cache, as a context manager: None if there is no store. Raises as that does."""
        cache = self._cache[reference.directory]
        store = Store.find(Path(reference.directory), reference.id, cache, reference.modes)
        with store or nullcontext():
            yield store


def handle(request: Task, opener: StoreOpener) -> Answer:
    """Carries out a store request and returns its answer. Raises ProvisionError."""
    return _HANDLERS[type(request)](request, opener)


def _settle(request: messages.Settle, opener: StoreOpener) -> Answer:
    with opener.open(request.store) as store:
        plan = store.records.settle(request.holder, request.plan, request.delete)
        return messages.Settled(request.id, store.id, plan, store.files.durable_bytes(plan))


def _record_ready(request: messages.RecordReady, opener: StoreOpener) -> Answer:
    with opener.find(request.store) as store:
        if store is None:
            return messages.RecordedReady(request.id, (), tuple(one.holder.uid for one in request.holdings))
        result = store.records.record_ready(request.holdings, verified=request.verified)
        if request.confirm and not result.without:
            store.records.confirm(request.confirm)
        return messages.RecordedReady(request.id, result.written, result.without)


def _identify(request: messages.Identify, opener: StoreOpener) -> Answer:
    with opener.find(replace(request.store, id=None)) as store:
        if store is None:
            return messages.Identified(request.id, None)
        return messages.Identified(request.id, store.id, store.records.recorded(request.uids))


def _check(request: messages.Check, opener: StoreOpener) -> Answer:
    with opener.open(request.store) as store:
        result = store.records.check(request.files, request.holder)
        return messages.Checked(request.id, result.missing, result.unattested, result.corrupt)


def _measure(request: messages.Measure, opener: StoreOpener) -> Answer:
    with opener.open(request.store) as store:
        room = store.files.room((), request.plan.files)
        return messages.Measured(request.id, room.needed, room.free)


def _mark_corrupt(request: messages.MarkCorrupt, opener: StoreOpener) -> Answer:
    with opener.open(request.store) as store:
        store.records.mark_corrupt(request.paths)
        return messages.MarkedCorrupt(request.id)


def _remove(request: messages.Remove, opener: StoreOpener) -> Answer:
    with opener.find(_holding_store(request, opener)) as store:
        paths = store.records.remove(request.uid, request.delete) if store else ()
        return messages.Removed(request.id, paths)


def _holding_store(request: messages.Remove, opener: StoreOpener) -> StoreRef:
    """The store to remove from: the mounted one if it has the object's record, whatever id the status has."""
    mounted = replace(request.store, id=None)
    with opener.find(mounted) as store:
        return mounted if store and store.records.recorded((request.uid,)) else request.store


def _sweep(request: messages.Sweep, opener: StoreOpener) -> Answer:
    with opener.find(request.store) as store:
        live = frozenset(request.namespaces), frozenset(request.uids), frozenset(request.names)
        swept = store.records.sweep(*live) if store else SweepResult()
        return messages.Swept(request.id, swept.parts, swept.records)


def _survey(request: messages.Survey, opener: StoreOpener) -> Answer:
    with opener.find(request.store) as store:
        return messages.Surveyed(request.id, store.records.usage() if store else None)


def _view(request: messages.View, opener: StoreOpener) -> Answer:
    from model_provisioner.transfer.views import ollama  # noqa: PLC0415 - the other workers would import json for it

    with opener.find(request.store) as store:
        result = ollama.ViewResult()
        if store and request.models is None:
            ollama.remove(store, request.claim)
        elif store and request.models is not None:
            result = ollama.update(store, request.claim, request.models)
        return messages.Viewed(request.id, result.listed, result.left_out, result.symbolic)


_HANDLERS: Mapping[type[Task], Callable[[Any, StoreOpener], Answer]] = {
    messages.Settle: _settle,
    messages.RecordReady: _record_ready,
    messages.Check: _check,
    messages.Identify: _identify,
    messages.Measure: _measure,
    messages.MarkCorrupt: _mark_corrupt,
    messages.Remove: _remove,
    messages.Sweep: _sweep,
    messages.Survey: _survey,
    messages.View: _view,
}
