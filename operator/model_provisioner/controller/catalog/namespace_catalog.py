"""The catalog of one namespace: its rows in memory, and the writer that brings the ConfigMap to them.

Called by `controller.catalog.catalog`. Holds no rule of its own: room is decided in `controller.catalog.rows`,
writing in `controller.catalog.writer`.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from model_provisioner.controller.catalog.rows import CatalogRows
from model_provisioner.controller.catalog.writer import CatalogWriter, Failure
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.kube.client import KubeApi


class NamespaceCatalog:
    """Run `run` as a task. `monotonic` and `sleep` are in seconds."""

    def __init__(
        self, api: KubeApi, namespace: str, monotonic: Callable[[], float], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._rows = CatalogRows()
        self._writer = CatalogWriter(api, namespace, self._rows, monotonic, sleep)

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
        """Adds the object or replaces its rows; `flush` waits until they are written."""
        if self._rows.put(download, model):
            self._writer.mark_dirty()

    def take(self, name: str, uid: str) -> None:
        """Removes the object; another object of the same name stays."""
        if self._rows.take(name, uid):
            self._writer.mark_dirty()

    async def flush(self) -> Failure | None:
        """Returns when the ConfigMap is up to date, or why it is not."""
        return await self._writer.flush()

    async def recovered(self) -> None:
        """Returns when a write succeeds after a failed one. Never returns if the last write did not fail."""
        await self._writer.recovered()

    def on_config_map(self, kind: str, document: Mapping[str, Any]) -> None:
        """A listener of a watch of the ConfigMap, if `run` has none of its own."""
        self._writer.on_config_map(kind, document)

    async def run(self, *, is_watched: bool = False) -> None:
        """Keeps the ConfigMap up to date until cancelled; no write goes on afterwards.

        `is_watched`: the caller passes every change of the ConfigMap to `on_config_map`.
        """
        await self._writer.run(is_watched=is_watched)

    def __str__(self) -> str:
        return str(self._writer)
