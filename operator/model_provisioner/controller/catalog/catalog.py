"""The ready models of all watched namespaces, published as a ConfigMap for each namespace, and one for each engine.

The reconciler enters a model when its files are published, and drops it when they are lost; a deletion waits until
the model has left. A ConfigMap is written as a whole, therefore `seed` takes in all ready objects before the first
write. A ConfigMap of that name that belongs to another owner is left as it is. The ConfigMaps of engines follow, and
nothing waits for them: if one can't be written, no model is less ready.

Called by `controller.app` and `controller.reconcile`. Reading and writing is in `controller.catalog.writer`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from model_provisioner.controller.catalog.catalogs import EveryNamespace, ListedNamespaces
from model_provisioner.controller.catalog.namespace_catalog import NamespaceCatalog
from model_provisioner.domain.catalog import CATALOG_NAME
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.scope import is_everywhere
from model_provisioner.kube.client import KubeApi

_LEAVE_SECONDS = 5.0

Document = Mapping[str, Any]


class Listener(Protocol):
    """Follows what the catalog lists."""

    def on_listed(self, download: ModelDownload, model: Model) -> None:
        """`model` is listed from now on, possibly in the place of an earlier version."""

    def on_taken(self, namespace: str, name: str) -> None:
        """This object is listed no more."""


class Catalog:
    """The ready models of `namespaces`. Run `run` as a task. `monotonic` and `sleep` are in seconds.

    `engines` are those whose ConfigMaps are written; they find each volume at `mount_path`.
    """

    def __init__(
        self,
        api: KubeApi,
        namespaces: Collection[str],
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        *,
        engines: Sequence[Engine] = (),
        mount_path: str = "/models",
    ) -> None:
        def make(namespace: str) -> NamespaceCatalog:
            return NamespaceCatalog(api, namespace, monotonic, sleep, engines, mount_path)

        names = [CATALOG_NAME, *(engine.config_map_name for engine in engines)]
        self._catalogs = (
            EveryNamespace(api, make, sleep, names) if is_everywhere(namespaces) else ListedNamespaces(namespaces, make)
        )
        self._listeners: list[Listener] = []

    def add_listener(self, listener: "Listener") -> None:
        """`listener` is told of every model from now on. Call it before `seed`."""
        self._listeners.append(listener)

    def seed(self, objects: Iterable[ModelDownload]) -> None:
        """Takes in what was ready when the operator started, also if there is no room: it was listed before."""
        for download in objects:
            if download.status.ready and download.status.model and not download.deleting:
                self._put(download, download.status.model)

    async def run(self) -> None:
        """Keeps every ConfigMap up to date until cancelled; nothing is written afterwards."""
        await self._catalogs.run()

    def holds(self, download: ModelDownload) -> bool:
        """Whether the object was entered. From then on the catalog keeps the ConfigMap up to date by itself."""
        return self._catalogs.of(download.namespace).holds(download.name, download.uid)

    def check_room(self, download: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable if there is no room for `model`, as far as it is known, beside the listed ones."""
        self._catalogs.of(download.namespace).check_room(download, model)

    async def recovered(self, download: ModelDownload) -> None:
        """Returns when the ConfigMap of the object's namespace can be written after a write has failed.

        Never returns if the last write did not fail.
        """
        await self._catalogs.of(download.namespace).recovered()

    async def enter(self, download: ModelDownload, model: Model) -> None:
        """Returns when the ConfigMap lists the model. Raises CatalogUnavailable."""
        self.check_room(download, model)
        self._put(download, model)
        if failure := await self._catalogs.of(download.namespace).flush():
            raise failure.error

    async def leave(self, download: ModelDownload) -> None:
        """Returns when the ConfigMap no longer lists the object. Raises CatalogUnavailable, after 5 seconds at most.

        A refusal is no error: a namespace that is being deleted refuses every write (403), and a ConfigMap of
        another owner never listed the object.
        """
        catalog = self._catalogs.of(download.namespace)
        self._take(download.namespace, download.name, download.uid)
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                failure = await catalog.flush()
        except TimeoutError:
            raise CatalogUnavailable(f"{catalog} is still being written") from None
        if failure and not failure.refused:
            raise failure.error

    def drop(self, download: ModelDownload) -> None:
        """The files of the object are lost, or the object is gone. The ConfigMap is written soon afterwards."""
        self._take(download.namespace, download.name, download.uid)

    def drop_uid(self, namespace: str, name: str, uid: str) -> None:
        """As `drop`, for an object of which no more is known."""
        self._take(namespace, name, uid)

    def on_event(self, kind: str, document: Document) -> None:
        """A listener of the watch of objects: drops an object also if its finalizer was removed by force."""
        self._catalogs.on_event(kind, document)
        if kind == "DELETED":
            metadata = document["metadata"]
            self._take(metadata["namespace"], metadata["name"], metadata["uid"])

    def _put(self, download: ModelDownload, model: Model) -> None:
        self._catalogs.of(download.namespace).put(download, model)
        for listener in self._listeners:
            listener.on_listed(download, model)

    def _take(self, namespace: str, name: str, uid: str) -> None:
        catalog = self._catalogs.of(namespace)
        if catalog.holds(name, uid):
            catalog.take(name, uid)
            for listener in self._listeners:
                listener.on_taken(namespace, name)
