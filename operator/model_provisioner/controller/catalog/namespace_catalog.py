"""The catalog of one namespace: its rows in memory, and the writers that bring the ConfigMaps to them.

Called by `controller.catalog.catalog`. Holds no rule of its own: room is decided in `controller.catalog.rows`, what
engines are told in `controller.catalog.engine_rows`, writing in `controller.catalog.writer`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from model_provisioner.controller.catalog.config_map import CatalogConfigMap
from model_provisioner.controller.catalog.engine_rows import EngineRows
from model_provisioner.controller.catalog.rows import CatalogRows
from model_provisioner.controller.catalog.writer import CatalogWriter, Failure
from model_provisioner.domain.catalog import CATALOG_NAME
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.engines import ENGINES
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi

_LOG = logging.getLogger(__name__)


class NamespaceCatalog:
    """Run `run` as a task. `monotonic` and `sleep` are in seconds. `engines` find each volume at `mount_path`."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        engines: Sequence[Engine],
        mount_path: str,
    ) -> None:
        self._rows = CatalogRows()
        self._writer = CatalogWriter(api, namespace, CATALOG_NAME, self._rows, monotonic, sleep)
        self._engines: list[tuple[EngineRows, CatalogWriter]] = []
        self._writers = {CATALOG_NAME: self._writer}  # by the name of the ConfigMap
        for engine in engines:
            rows = EngineRows(engine, mount_path)
            writer = CatalogWriter(api, namespace, engine.config_map_name, rows, monotonic, sleep)
            self._engines.append((rows, writer))
            self._writers[engine.config_map_name] = writer
        self._switched_off = [
            CatalogConfigMap(api, namespace, engine.config_map_name, sleep)
            for engine in ENGINES.values()
            if engine not in engines
        ]

    @property
    def is_empty(self) -> bool:
        """Whether it lists no model."""
        return self._rows.is_empty

    def holds(self, name: str, uid: str) -> bool:
        return self._rows.holds(name, uid)

    def check_room(self, download: ModelDownload, model: Model) -> None:
        """Raises CatalogUnavailable if there is no room for `model`."""
        if why := self._rows.refusal(download, model):
            raise CatalogUnavailable(f"{self} {why}")

    def put(self, download: ModelDownload, model: Model) -> None:
        """Adds the object or replaces its rows; `flush` waits until the catalog has them."""
        if self._rows.put(download, model):
            self._writer.mark_dirty()
        for rows, writer in self._engines:
            if rows.put(download, model):
                writer.mark_dirty()

    def take(self, name: str, uid: str) -> None:
        """Removes the object; another object of the same name stays."""
        if self._rows.take(name, uid):
            self._writer.mark_dirty()
        for rows, writer in self._engines:
            if rows.take(name, uid):
                writer.mark_dirty()

    async def flush(self) -> Failure | None:
        """Returns when the catalog is up to date, or why it is not. The ConfigMaps of engines are not waited for."""
        return await self._writer.flush()

    async def settle(self) -> bool:
        """Tries to write what is not written yet. Whether every ConfigMap is up to date then, or may not be written."""
        failures = [await writer.flush() for writer in self._writers.values()]
        return all(failure is None or failure.refused for failure in failures)

    async def recovered(self) -> None:
        """Returns when a write succeeds after a failed one. Never returns if the last write did not fail."""
        await self._writer.recovered()

    def on_config_map(self, kind: str, document: Mapping[str, Any]) -> None:
        """A listener of a watch of the ConfigMaps, if `run` has none of its own."""
        self._writers[document["metadata"]["name"]].on_config_map(kind, document)

    async def run(self, *, is_watched: bool = False) -> None:
        """Keeps the ConfigMaps up to date until cancelled; no write goes on afterwards.

        `is_watched`: the caller passes every change of the ConfigMaps to `on_config_map`.
        """
        async with asyncio.TaskGroup() as tasks:
            for writer in self._writers.values():
                tasks.create_task(writer.run(is_watched=is_watched))
            tasks.create_task(self._delete_switched_off())

    async def _delete_switched_off(self) -> None:
        """Deletes what was written for engines that are switched off by now: nothing keeps it up to date any more."""
        for config_map in self._switched_off:
            try:
                if await config_map.delete_if_labelled():
                    _LOG.info("%s is deleted: its engine is switched off", config_map)
            except ApiError as error:
                _LOG.warning("%s, whose engine is switched off, could not be deleted: %s", config_map, error)

    def __str__(self) -> str:
        return str(self._writer)
