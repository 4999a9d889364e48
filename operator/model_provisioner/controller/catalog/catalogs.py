"""The catalogs of the served namespaces: one for each of a list, or one for each namespace that has objects.

Called by `controller.catalog.catalog`, which chooses one of the two classes. When a ConfigMap is written is decided in
`controller.catalog.writer`.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from model_provisioner.controller.catalog.config_map import is_labelled, watch_path
from model_provisioner.controller.catalog.namespace_catalog import NamespaceCatalog
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector

_IDLE_SECONDS = 60.0

Document = Mapping[str, Any]
Make = Callable[[str], NamespaceCatalog]


class ListedNamespaces:
    """A catalog for each of `namespaces`, each with a watch of its ConfigMap."""

    def __init__(self, namespaces: Iterable[str], make: Make) -> None:
        self._catalogs = {namespace: make(namespace) for namespace in namespaces}

    def of(self, namespace: str) -> NamespaceCatalog:
        """The catalog of a served namespace."""
        return self._catalogs[namespace]

    def on_event(self, kind: str, document: Document) -> None:
        """Nothing depends on which objects exist."""

    async def run(self) -> None:
        """Keeps every ConfigMap up to date until cancelled; nothing is written afterwards."""
        async with asyncio.TaskGroup() as tasks:
            for catalog in self._catalogs.values():
                tasks.create_task(catalog.run())


class EveryNamespace:
    """A catalog for each namespace that has objects, or a ConfigMap of ours with entries, and one watch for each name.

    A catalog ends some time after the last object of its namespace, whose ConfigMaps are empty then. `names` are those
    of the ConfigMaps that a catalog has. `sleep` is in seconds.
    """

    def __init__(
        self, api: KubeApi, make: Make, sleep: Callable[[float], Awaitable[None]], names: Iterable[str]
    ) -> None:
        self._make = make
        self._sleep = sleep
        self._catalogs: dict[str, NamespaceCatalog] = {}
        self._objects = defaultdict[str, set[str]](set)  # uids by namespace; a namespace without objects has no key
        self._tasks: asyncio.TaskGroup | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._reflectors = [Reflector(api, watch_path(None, name)) for name in names]
        for reflector in self._reflectors:
            reflector.set_transform(_identity)
            reflector.add_listener(self._on_config_map)

    def of(self, namespace: str) -> NamespaceCatalog:
        """The catalog of `namespace`, which is made if there is none."""
        if namespace not in self._catalogs:
            self._catalogs[namespace] = self._make(namespace)
            self._start(namespace)
        return self._catalogs[namespace]

    def on_event(self, kind: str, document: Document) -> None:
        """A listener of the watch of objects."""
        namespace, uid = document["metadata"]["namespace"], document["metadata"]["uid"]
        if kind != "DELETED":
            self._objects[namespace].add(uid)
            self.of(namespace)
        elif namespace in self._objects:
            self._objects[namespace].discard(uid)
            if not self._objects[namespace]:
                del self._objects[namespace]

    async def run(self) -> None:
        """Keeps every ConfigMap up to date until cancelled; nothing is written afterwards."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                for namespace in self._catalogs:
                    self._start(namespace)
                for reflector in self._reflectors:
                    tasks.create_task(reflector.run())
                await self._end_idle()
            finally:
                self._tasks = None

    def _start(self, namespace: str) -> None:
        if self._tasks:
            catalog = self._catalogs[namespace]
            self._running[namespace] = self._tasks.create_task(catalog.run(is_watched=True))

    async def _end_idle(self) -> None:
        """Ends the catalogs of namespaces without objects, also of those that do not exist any more."""
        while True:
            await self._sleep(_IDLE_SECONDS)
            for namespace in self._catalogs.keys() - self._objects.keys():
                catalog = self._catalogs[namespace]
                is_done = await catalog.settle() and catalog.is_empty
                if is_done and namespace not in self._objects:
                    del self._catalogs[namespace]
                    self._running.pop(namespace).cancel()

    def _on_config_map(self, kind: str, document: Document) -> None:
        """Tells the catalog of the namespace.

        One is made for the entries that a former operator left in a namespace without objects, to remove them.
        """
        namespace = document["metadata"]["namespace"]
        has_entries = kind != "DELETED" and bool(document.get("data")) and is_labelled(document)
        if namespace in self._catalogs or has_entries:
            self.of(namespace).on_config_map(kind, document)


def _identity(document: Document) -> dict[str, Any]:
    """What the reflector needs of a ConfigMap, which has up to 800 KiB."""
    metadata = document["metadata"]
    return {"metadata": {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}}
