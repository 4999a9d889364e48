"""Which of the watched namespaces can be served: those whose objects we may list.

Where a namespace was deleted, or its Role was, our rights there went with it. kopf ends the process when a watch stays
refused, and nothing begins before every watch has its list; so at the start such a namespace is left out, lest it keep
the others waiting. Nothing is concluded from an API server that can't tell now: it is asked again. Called by `app`.
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
_ASK_AGAIN_SECONDS = 2.0

Sleep = Callable[[float], Awaitable[None]]


async def served_namespaces(api: KubeApi, namespaces: Sequence[str], sleep: Sleep = asyncio.sleep) -> list[str]:
    """Those of `namespaces` that are not refused. Raises ApiError where all are."""
    refusals = {namespace: await _refusal(api, namespace, sleep) for namespace in namespaces}
    refused = {namespace: why for namespace, why in refusals.items() if why}
    for namespace in refused:
        _LOG.error(
            "namespace %s is not served: the operator may not list its modeldownloads. Grant it a Role there, or take "
            "the namespace out of watchNamespaces (--watch-namespace)",
            namespace,
        )
    if len(refused) == len(refusals):
        raise next(iter(refused.values()))
    return [namespace for namespace in namespaces if namespace not in refused]


async def exit_when_served(api: KubeApi, left_out: Sequence[str], sleep: Sleep = asyncio.sleep) -> None:
    """Ends the process, which is then started anew, as soon as one of `left_out` can be served."""
    while left_out:
        await sleep(_LOOK_AGAIN_SECONDS)
        for namespace in left_out:
            if await _refusal(api, namespace, sleep) is None:
                _LOG.warning("namespace %s can be served now: starting anew", namespace)
                os.kill(os.getpid(), signal.SIGTERM)
                return


async def _refusal(api: KubeApi, namespace: str, sleep: Sleep) -> ApiError | None:
    """Why its objects may not be listed, or None where they may."""
    while True:
        try:
            await api.get(collection_path(namespace), {"limit": "1"})
        except ApiError as error:
            if error.is_forbidden:
                return error
            _LOG.warning("whether namespace %s can be served is not known yet: %s", namespace, error)
            await sleep(error.retry_after or _ASK_AGAIN_SECONDS)
        else:
            return None
