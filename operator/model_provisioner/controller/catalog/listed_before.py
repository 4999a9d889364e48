"""Which Ready objects the catalog of an earlier operator lists, on claims that this one can't look at when it starts.

A status alone lists no model: an editor can write one. For a mounted claim the volume is asked; for another one a
worker pod would have to be started, at each start of the operator one for each claim. Therefore such an object stays
listed if the ConfigMap lists it as its status does, and its record is looked for when a worker pod is there
(`controller.stores.record_keeper`). Of any other, a worker pod reads the files. Called by `controller.start_stores`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping

from model_provisioner.controller.catalog.config_map import CatalogConfigMap, is_ours
from model_provisioner.domain.catalog import CATALOG_NAME, Entry, lists
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi

_LOG = logging.getLogger(__name__)
_AT_ONCE = 8
_RETRY_SECONDS = 2.0


async def listed_before(
    api: KubeApi, downloads: Iterable[ModelDownload], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> frozenset[str]:
    """The uids of those of `downloads` that the ConfigMap of their namespace lists as their statuses do."""
    by_namespace: dict[str, list[ModelDownload]] = defaultdict(list)
    for download in downloads:
        by_namespace[download.namespace].append(download)
    limit = asyncio.Semaphore(_AT_ONCE)

    async def of(namespace: str, found: list[ModelDownload]) -> set[str]:
        async with limit:
            data = await _data(api, namespace, sleep)
        return {download.uid for download in found if _is_listed(data, download)}

    answers = await asyncio.gather(*(of(*one) for one in by_namespace.items()))
    return frozenset().union(*answers)


def _is_listed(data: Mapping[str, str], download: ModelDownload) -> bool:
    model = download.status.model
    return model is not None and lists(
        data, download.name, Entry(download.spec.model_ref, model, download.spec.endpoint)
    )


async def _data(api: KubeApi, namespace: str, sleep: Callable[[float], Awaitable[None]]) -> Mapping[str, str]:
    """What the ConfigMap lists. Waits until the API server answers; without the right to read it, there is nothing."""
    config_map = CatalogConfigMap(api, namespace, CATALOG_NAME, sleep)
    while True:
        try:
            found = await config_map.find()
        except ApiError as error:
            if error.is_refused:
                return {}
            _LOG.warning("%s could not be read: %s", config_map, error)
            await sleep(error.retry_after or _RETRY_SECONDS)
        else:
            return (found.get("data") or {}) if found and is_ours(found) else {}
