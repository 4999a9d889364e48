"""Keeps the view of Ollama on each mounted claim as the catalog is: after each change, and every ten minutes.

The store worker makes the view anew from what it is sent, so that a view that was damaged, or that a kill left
unfinished, is repaired. Where views are switched off, what an earlier operator has left of them is removed at the
start. What belongs into a view is decided in `domain.views`. Started by `controller.start_stores`, told by
`controller.catalog.catalog`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from model_provisioner.controller.stores.store_client import StoreClient, only_store_id
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.views.ollama_image import viewed_model
from model_provisioner.domain.views.ollama_model import ViewedModel

_LOG = logging.getLogger(__name__)
_BATCH_SECONDS = 1.0
_RESYNC_SECONDS = 600.0
_PAUSES = Backoff(first=2.0, longest=120.0)


@dataclass(frozen=True, slots=True)
class _Listed:
    """One model of the catalog; `viewed` is why, if Ollama can't read it."""

    claim: Claim
    store_id: str
    viewed: ViewedModel | str


class OllamaViews:
    """Run `run` as a task, after the catalog has taken in what was ready. `enabled` is False if there is to be no view.

    `sleep` is in seconds.
    """

    def __init__(
        self, stores: StoreClient, *, enabled: bool, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._stores = stores
        self._enabled = enabled
        self._sleep = sleep
        self._listed: dict[tuple[str, str], _Listed] = {}  # by namespace and name
        self._changed = {claim: asyncio.Event() for claim in stores.claims}
        self._said: dict[Claim, frozenset[str]] = {}

    def on_listed(self, download: ModelDownload, model: Model) -> None:
        """The catalog has a new model, or a newer version of one."""
        if self._enabled:
            self.on_taken(download.namespace, download.name)
            claim = Claim(download.namespace, model.claim_name)
            listed = _Listed(claim, model.store_id, viewed_model(download, model))
            self._listed[download.namespace, download.name] = listed
            self._mark_changed(claim)

    def on_taken(self, namespace: str, name: str) -> None:
        """The catalog has this object no more."""
        if listed := self._listed.pop((namespace, name), None):
            self._mark_changed(listed.claim)

    async def run(self) -> None:
        """Updates the views of all claims concurrently until cancelled."""
        work = self._update_on_change if self._enabled else self._remove
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(work(claim))
            if self._enabled:
                tasks.create_task(self._resync())

    async def _update_on_change(self, claim: Claim) -> None:
        self._changed[claim].set()
        while True:
            await self._changed[claim].wait()
            self._changed[claim].clear()
            await self._until_done(claim, self._update)
            await self._sleep(_BATCH_SECONDS)

    async def _remove(self, claim: Claim) -> None:
        async def remove(claim: Claim) -> None:
            await self._stores.view(claim, None, None)

        await self._until_done(claim, remove)

    async def _resync(self) -> None:
        while True:
            await self._sleep(_RESYNC_SECONDS)
            for changed in self._changed.values():
                changed.set()

    async def _until_done(self, claim: Claim, step: Callable[[Claim], Awaitable[None]]) -> None:
        """Repeats `step` until it does not fail, with what is wanted by then."""
        failures = 0
        while True:
            try:
                return await step(claim)
            except ProvisionError as error:
                failures += 1
                self._say(claim, frozenset({f"the view of Ollama is not up to date: {error.reason}: {error.message}"}))
                await self._sleep(_PAUSES.seconds(failures))

    async def _update(self, claim: Claim) -> None:
        here = {key: listed for key, listed in self._listed.items() if listed.claim == claim}
        store_id = only_store_id(claim, frozenset(listed.store_id for listed in here.values()))
        models = tuple(listed.viewed for listed in here.values() if isinstance(listed.viewed, ViewedModel))
        result = await self._stores.view(claim, store_id, models)
        unreadable = (f"{'/'.join(key)} {one.viewed}" for key, one in here.items() if isinstance(one.viewed, str))
        notes = {f"not in the view of Ollama: {why}" for why in (*unreadable, *result.left_out)}
        if result.symbolic:
            notes.add(
                f"{result.symbolic} files are symbolic links in the view of Ollama: mount the whole volume for it"
            )
        self._say(claim, frozenset(notes))

    def _mark_changed(self, claim: Claim) -> None:
        if claim in self._changed:  # an object may be Ready on a claim that is mounted no more
            self._changed[claim].set()

    def _say(self, claim: Claim, notes: frozenset[str]) -> None:
        """Logs what was not said last time."""
        for note in sorted(notes - self._said.get(claim, frozenset())):
            _LOG.warning("%s: %s", claim, note)
        self._said[claim] = notes
