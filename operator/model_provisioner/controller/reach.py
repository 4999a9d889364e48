"""Which of the watched namespaces can be served: those whose objects we may list.

Where a namespace was deleted, or its Role was, our rights there went with it. kopf ends the process when a watch stays
refused, and nothing begins before every watch has its list; so at the start such a namespace is left out, lest it keep
the others waiting. Called by `app`.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import collection_path

_LOG = logging.getLogger(__name__)
_LOOK_AGAIN_SECONDS = 60.0
_FORBIDDEN = 403


async def reachable(api: KubeApi, namespaces: Sequence[str]) -> list[str]:
    """Those of `namespaces` that are not refused; all of them where nothing would be left."""
    served = [namespace for namespace in namespaces if await _may_list(api, namespace)]
    for namespace in set(namespaces).difference(served):
        _LOG.error(
            "namespace %s is not served: the operator may not list its modeldownloads. Grant it a Role there, or take "
            "the namespace out of watchNamespaces (--watch-namespace)",
            namespace,
        )
    return served or list(namespaces)


async def end_when_reachable(
    api: KubeApi, left_out: Sequence[str], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
) -> None:
    """Ends the process, which is then started anew, as soon as one of `left_out` can be served."""
    while left_out:
        await sleep(_LOOK_AGAIN_SECONDS)
        for namespace in left_out:
            if await _may_list(api, namespace):
                _LOG.warning("namespace %s can be served now: starting anew", namespace)
                os.kill(os.getpid(), signal.SIGTERM)
                return


async def _may_list(api: KubeApi, namespace: str) -> bool:
    """Where nobody can tell, it is tried."""
    try:
        await api.get(collection_path(namespace), {"limit": "1"})
    except ApiError as error:
        return error.status != _FORBIDDEN
    return True
