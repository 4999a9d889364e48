"""A ConfigMap of the catalog at the API server: its owner, and the requests that read, write and delete it.

It is server-side applied as a whole, so that keys which are no longer in it are removed; keys of other field managers
are removed by a merge patch. Called by `controller.catalog.writer`, which decides when to write and what, and by
`controller.catalog.namespace_catalog` for an engine that is switched off.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.kube.client import ApiError, KubeApi

_FIELD_MANAGER = "model-provisioner"
_MANAGED_BY = "app.kubernetes.io/managed-by"
_TRIES = 4
PATIENCE_SECONDS = 3.0
"""A longer Retry-After is not waited for here: the ApiError is raised."""
_PAUSES = Backoff(first=0.25, longest=PATIENCE_SECONDS)

HOW_TO_HAND_OVER = (
    f"belongs to another owner and is left as it is: rename or delete it, or hand it over with the label "
    f"{_MANAGED_BY}={_FIELD_MANAGER}; keys that belong to no model are then removed"
)

Document = Mapping[str, Any]
T = TypeVar("T")


class CatalogConfigMap:
    """The ConfigMap `name` in `namespace`. `sleep` is in seconds.

    Transient errors and conflicts are retried for some seconds; afterwards every method raises ApiError.
    """

    def __init__(
        self, api: KubeApi, namespace: str, name: str, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._sleep = sleep

    async def find(self) -> Document | None:
        """None if it does not exist."""
        return await self._with_retries(lambda: self._none_if_missing(self._api.get(self._path)))

    async def apply(self, data: Mapping[str, str]) -> Document:
        """Creates it, or sets our keys to `data`. Keys of other field managers stay; the answer contains them."""
        document = self._document(data)
        return await self._with_retries(
            lambda: self._api.patch(self._path, document, "apply", field_manager=_FIELD_MANAGER)
        )

    async def remove(self, keys: Document) -> Document | None:
        """Sends `keys`, the merge patch that `foreign_keys` returns. Returns None if it does not exist any more."""
        return await self._with_retries(lambda: self._none_if_missing(self._api.patch(self._path, keys)))

    async def delete_if_labelled(self) -> bool:
        """Deletes it if it has our label; returns whether it did."""
        return await self._with_retries(self._delete)

    def __str__(self) -> str:
        return f"ConfigMap {self._name} in namespace {self._namespace}"

    async def _none_if_missing(self, request: Awaitable[Document]) -> Document | None:
        try:
            return await request
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def _delete(self) -> bool:
        found = await self._none_if_missing(self._api.get(self._path))
        if found is None or not is_labelled(found):
            return False
        version = found["metadata"]["resourceVersion"]  # another one may have lost the label
        await self._api.delete(self._path, {"preconditions": {"resourceVersion": version}})
        return True

    async def _with_retries(self, request: Callable[[], Awaitable[T]]) -> T:
        for failures in range(1, _TRIES):
            try:
                return await request()
            except ApiError as error:
                seconds = error.retry_after or _PAUSES.seconds(failures)
                if not (error.is_transient or error.is_conflict) or seconds > PATIENCE_SECONDS:
                    raise
                await self._sleep(seconds)
        return await request()

    @property
    def _path(self) -> str:
        return f"/api/v1/namespaces/{self._namespace}/configmaps/{self._name}"

    def _document(self, data: Mapping[str, str]) -> Document:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": self._name,
                "namespace": self._namespace,
                "labels": {_MANAGED_BY: _FIELD_MANAGER},
            },
            "data": dict(data),
        }


def watch_path(namespace: str | None, name: str) -> str:
    """The URL path of the ConfigMaps of a namespace, or of the cluster if None, restricted to those called `name`."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/api/v1{within}/configmaps?fieldSelector=metadata.name%3D{name}"


def is_labelled(found: Document) -> bool:
    """Whether the label `app.kubernetes.io/managed-by` names us."""
    return bool((found["metadata"].get("labels") or {}).get(_MANAGED_BY) == _FIELD_MANAGER)


def is_ours(found: Document) -> bool:
    """True if it has our label, if we have applied it, or if it has no data that could be lost."""
    managers: Sequence[Document] = found["metadata"].get("managedFields") or ()
    applied = any(
        manager.get("manager") == _FIELD_MANAGER and manager.get("operation") == "Apply" for manager in managers
    )
    return applied or is_labelled(found) or not (found.get("data") or found.get("binaryData"))


def foreign_keys(found: Document, data: Mapping[str, str]) -> dict[str, Any]:
    """The merge patch (RFC 7386) that removes every key of `found` that is not in `data`; empty if there is none."""
    patch: dict[str, Any] = {}
    if keys := (found.get("data") or {}).keys() - data.keys():
        patch["data"] = dict.fromkeys(keys)
    if binary := found.get("binaryData"):
        patch["binaryData"] = dict.fromkeys(binary)
    return patch
