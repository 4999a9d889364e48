"""Keeps the catalog ConfigMap of each namespace in step with its ready models.

The lifecycle enters a model when its files are published and drops it when they are lost; a deletion
waits until it has left. A ConfigMap is written as a whole, so what is held in memory is complete before
the first write: it is seeded from a list of all objects. What others change in it is seen by a watch and
put right again; a ConfigMap of that name that somebody else made is not touched. One namespace's is a
page: see `catalog_page`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from model_provisioner.controller.catalog_page import Page
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.kube.client import KubeApi

_LEAVE_SECONDS = 5.0

Document = Mapping[str, Any]


class Catalog:
    """The ready models of all watched namespaces. Run `run` as a task."""

    def __init__(
        self,
        api: KubeApi,
        namespaces: Iterable[str],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._pages = {namespace: Page(api, namespace, monotonic, sleep) for namespace in namespaces}

    def seed(self, objects: Iterable[ModelDownload]) -> None:
        """Take in what was ready when the operator started, whatever room it needs: it was in already."""
        for one in objects:
            if one.status.ready and one.status.model and not one.deleting:
                self._pages[one.namespace].put(one, one.status.model)

    async def run(self) -> None:
        """Keeps every ConfigMap as it should be, until cancelled; from then on nothing is written."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for page in self._pages.values():
                    tasks.create_task(page.watch())
                    tasks.create_task(page.mend())
                    tasks.create_task(page.defend())
        finally:
            for page in self._pages.values():
                page.abandon()

    def holds(self, subject: ModelDownload) -> bool:
        """Whether the object was entered; that the ConfigMap stays as it should be is our business from then on."""
        return self._pages[subject.namespace].holds(subject.name, subject.uid)

    def check_room(self, subject: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable where the model, as far as it is known, has no place beside those that are in."""
        self._pages[subject.namespace].check_room(subject, model)

    async def recovered(self, subject: ModelDownload) -> None:
        """Returns when the ConfigMap, which could not be written, is as it should be."""
        await self._pages[subject.namespace].recovered()

    async def enter(self, subject: ModelDownload, model: Model) -> None:
        """Returns when the ConfigMap has the model. Raises CatalogUnavailable."""
        self.check_room(subject, model)
        page = self._pages[subject.namespace]
        page.put(subject, model)
        if failure := await page.bring_up_to_date():
            raise failure.error

    async def leave(self, subject: ModelDownload) -> None:
        """Returns when the ConfigMap has the object no more. Raises CatalogUnavailable, within seconds.

        A namespace that is going away refuses to create anything (403), which here is as good as done; and of
        somebody else's ConfigMap the object never was a part.
        """
        page = self._pages[subject.namespace]
        page.take(subject.name, subject.uid)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                failure = await page.bring_up_to_date()
        except TimeoutError:
            raise CatalogUnavailable(f"{page} is still being written") from None
        if failure and not failure.refused:
            raise failure.error

    def drop(self, subject: ModelDownload) -> None:
        """Its files are not there any more, or it is gone itself: the ConfigMap follows soon."""
        self._pages[subject.namespace].take(subject.name, subject.uid)

    def heard(self, kind: str, document: Document) -> None:
        """A listener of the watch of objects: one whose finalizer was taken off by force leaves no trace either."""
        if kind == "DELETED":
            metadata = document["metadata"]
            self._pages[metadata["namespace"]].take(metadata["name"], metadata["uid"])
