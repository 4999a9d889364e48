"""Keeps the catalog ConfigMap of each namespace in step with its ready models.

The lifecycle enters a model when its files are published and leaves it out when it is lost or
deleted. The ConfigMap is server-side applied as a whole, so what we hold in memory is complete
before the first apply: it is seeded from a list of all objects.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from model_provisioner.domain.catalog import CATALOG_NAME, Entry, catalog_data
from model_provisioner.domain.errors import CatalogUnavailable
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi

_FIELD_MANAGER = "model-provisioner"


class Catalog:
    """The ready models of all watched namespaces."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._entries: dict[str, dict[str, Entry]] = {}
        self._applied: dict[str, dict[str, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def seed(self, objects: Iterable[ModelDownload]) -> None:
        """Take in what was ready when the operator started."""
        for one in objects:
            if one.status.ready and one.status.model and not one.deleting:
                self._of(one.namespace)[one.name] = Entry(one.spec.model_ref, one.status.model)

    async def enter(self, namespace: str, name: str, entry: Entry) -> None:
        """Returns when the ConfigMap has `entry`. Raises CatalogUnavailable."""
        self._of(namespace)[name] = entry
        try:
            await self._apply(namespace)
        except ApiError as error:
            raise _unavailable(namespace, error) from None

    async def leave(self, namespace: str, name: str) -> None:
        """Returns when the ConfigMap has no entry of that name. Raises CatalogUnavailable.

        A namespace that is going away refuses to create anything (403), which here is as good as done.
        """
        self._of(namespace).pop(name, None)
        try:
            await self._apply(namespace)
        except ApiError as error:
            if error.status not in {403, 404}:
                raise _unavailable(namespace, error) from None

    def _of(self, namespace: str) -> dict[str, Entry]:
        return self._entries.setdefault(namespace, {})

    async def _apply(self, namespace: str) -> None:
        """Many that wait for one apply are served by the next one: the data is read when it starts."""
        async with self._locks.setdefault(namespace, asyncio.Lock()):
            data = catalog_data(self._of(namespace))
            if data == self._applied.get(namespace):
                return
            document = _document(namespace, data)
            await self._api.patch(_path(namespace), document, kind="apply", field_manager=_FIELD_MANAGER, force=True)
            self._applied[namespace] = data


def _unavailable(namespace: str, error: ApiError) -> CatalogUnavailable:
    message = f"ConfigMap {CATALOG_NAME} in namespace {namespace} could not be written: {error}"
    return CatalogUnavailable(message, error.retry_after)


def _path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/configmaps/{CATALOG_NAME}"


def _document(namespace: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": CATALOG_NAME,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": _FIELD_MANAGER},
        },
        "data": data,
    }
