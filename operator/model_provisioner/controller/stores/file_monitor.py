"""Looks after the files of all models that are Ready: are they still there, with the size that they had?

One look at a store for many models at once, so that ten thousand idle objects cost next to nothing: a
lifecycle that has nothing to do waits here until something about its files is not as it was, and then
finds out for itself what. Decides nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.modeldownload import FileRecord, Model
from model_provisioner.domain.store.claim import Claim

_LOG = logging.getLogger(__name__)
_ROUND_SECONDS = 60.0
_MODELS_AT_ONCE = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Watch:
    """One model that somebody watches over; `alarm` is done when it should be looked at."""

    claim: Claim
    model: Model
    alarm: asyncio.Future[None]


class FileMonitor:
    """Run `run` as a task; lifecycles wait in `until_notified`."""

    def __init__(self, stores: StoreClient, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._stores = stores
        self._sleep = sleep
        self._posts: set[_Watch] = set()

    async def until_notified(self, claim: Claim, model: Model) -> None:
        """Returns when a file of `model` is missing or has another size, or when its store could not be looked at."""
        if claim not in self._stores.claims:
            await asyncio.Event().wait()  # there is nothing to look at: it is as it was until it is mounted again
        post = _Watch(claim, model, asyncio.get_running_loop().create_future())
        self._posts.add(post)
        try:
            await post.alarm
        finally:
            self._posts.discard(post)

    def notify(self, claim: Claim, model: Model) -> None:
        """Has all who share a file of `model` look at theirs: somebody has found it to be wrong."""
        _alarm((post for post in self._posts if post.claim == claim), {file.path for file in model.files})

    async def run(self) -> None:
        """Rounds a minute apart, until cancelled. A volume that hangs keeps only its own models waiting."""
        async with asyncio.TaskGroup() as tasks:
            for claim in self._stores.claims:
                tasks.create_task(self._watch_over(claim))

    async def _watch_over(self, claim: Claim) -> None:
        while True:
            await self._sleep(_ROUND_SECONDS)
            for store_id, posts in list(self._round(claim)):
                await self._look(claim, store_id, posts)

    def _round(self, claim: Claim) -> Iterator[tuple[str, list[_Watch]]]:
        by_store: dict[str, list[_Watch]] = {}
        for post in self._posts:
            if post.claim == claim:
                by_store.setdefault(post.model.store_id, []).append(post)
        for store_id, posts in by_store.items():
            waiting = iter(posts)
            while some := list(islice(waiting, _MODELS_AT_ONCE)):
                yield store_id, some

    async def _look(self, claim: Claim, store_id: str, posts: list[_Watch]) -> None:
        files: dict[FileRecord, None] = {file: None for post in posts for file in post.model.files}
        try:
            missing = frozenset((await self._stores.check(claim, store_id, tuple(files))).missing)
        except ProvisionError as error:
            _LOG.info("the store on %s/%s could not be looked at: %s", claim.namespace, claim.name, error)
            missing = frozenset(file.path for file in files)
        _alarm(posts, missing)


def _alarm(posts: Iterable[_Watch], paths: Collection[str]) -> None:
    """Those of `posts` that have a file among `paths`."""
    for post in posts:
        if not post.alarm.done() and any(file.path in paths for file in post.model.files):
            post.alarm.set_result(None)
