"""Keeps the catalog ConfigMap of each namespace in step with its ready models.

The lifecycle enters a model when its files are published and drops it when they are lost; a deletion
waits until it has left. A ConfigMap is written as a whole, so what is held in memory is complete before
the first write: it is seeded from a list of all objects. What others change in it is seen by a watch and
put right again; a ConfigMap of that name that somebody else made is not touched. One namespace's is a
namespace_catalog: see `catalog_page`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from model_provisioner.controller.catalog.namespace_catalog import NamespaceCatalog
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
        self._catalogs = {namespace: NamespaceCatalog(api, namespace, monotonic, sleep) for namespace in namespaces}

    def seed(self, objects: Iterable[ModelDownload]) -> None:
        """Take in what was ready when the operator started, whatever room it needs: it was in already."""
        for one in objects:
            if one.status.ready and one.status.model and not one.deleting:
                self._catalogs[one.namespace].put(one, one.status.model)

    async def run(self) -> None:
        """Keeps every ConfigMap as it should be, until cancelled; from then on nothing is written."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for namespace_catalog in self._catalogs.values():
                    tasks.create_task(namespace_catalog.watch())
                    tasks.create_task(namespace_catalog.resync())
                    tasks.create_task(namespace_catalog.revert_drift())
        finally:
            for namespace_catalog in self._catalogs.values():
                namespace_catalog.abandon()

    def holds(self, download: ModelDownload) -> bool:
        """Whether the object was entered; that the ConfigMap stays as it should be is our business from then on."""
        return self._catalogs[download.namespace].holds(download.name, download.uid)

    def check_room(self, download: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable where the model, as far as it is known, has no place beside those that are in."""
        self._catalogs[download.namespace].check_room(download, model)

    async def recovered(self, download: ModelDownload) -> None:
        """Returns when the ConfigMap, which could not be written, is as it should be."""
        await self._catalogs[download.namespace].recovered()

    async def enter(self, download: ModelDownload, model: Model) -> None:
        """Returns when the ConfigMap has the model. Raises CatalogUnavailable."""
        self.check_room(download, model)
        namespace_catalog = self._catalogs[download.namespace]
        namespace_catalog.put(download, model)
        if failure := await namespace_catalog.bring_up_to_date():
            raise failure.error

    async def leave(self, download: ModelDownload) -> None:
        """Returns when the ConfigMap has the object no more. Raises CatalogUnavailable, within seconds.

        A namespace that is going away refuses to create anything (403), which here is as good as done; and of
        somebody else's ConfigMap the object never was a part.
        """
        namespace_catalog = self._catalogs[download.namespace]
        namespace_catalog.take(download.name, download.uid)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                failure = await namespace_catalog.bring_up_to_date()
        except TimeoutError:
            raise CatalogUnavailable(f"{namespace_catalog} is still being written") from None
        if failure and not failure.refused:
            raise failure.error

    def drop(self, download: ModelDownload) -> None:
        """Its files are not there any more, or it is gone itself: the ConfigMap follows soon."""
        self._catalogs[download.namespace].take(download.name, download.uid)

    def on_event(self, kind: str, document: Document) -> None:
        """A listener of the watch of objects: one whose finalizer was taken off by force leaves no trace either."""
        if kind == "DELETED":
            metadata = document["metadata"]
            self._catalogs[metadata["namespace"]].take(metadata["name"], metadata["uid"])
