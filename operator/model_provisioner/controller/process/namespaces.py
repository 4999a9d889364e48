"""Decides which of the watched namespaces are served: those in which we may list ModelDownloads. Called by `app`.

A deleted namespace or Role takes our rights with it. kopf ends the process if a watch stays refused, and the operator
waits at its start until every watch has its first list. So a namespace that refuses us is left out at the start:
otherwise the others would wait for it. Only 403 counts as a refusal; after any other error, the request is repeated.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence

from model_provisioner.domain.scope import EVERY_NAMESPACE
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import watched_path

_LOG = logging.getLogger(__name__)
_RECHECK_SECONDS = 60.0
_RETRY_SECONDS = 2.0
_NO_ROLE = (
    "namespace %s is not served: the operator may not list its modeldownloads. Grant it a Role there, or take the "
    "namespace out of watchNamespaces (--watch-namespace)"
)
_NO_CLUSTER_ROLE = (
    "no namespace is served: the operator may not list the modeldownloads of the cluster. Grant it a ClusterRole, or "
    'list the namespaces in watchNamespaces (--watch-namespace) instead of "*"'
)

Sleep = Callable[[float], Awaitable[None]]


async def served_namespaces(api: KubeApi, namespaces: Sequence[str], sleep: Sleep = asyncio.sleep) -> list[str]:
    """The members of `namespaces` in which we may list ModelDownloads. Raises ApiError if there is none."""
    refusals = {namespace: await _refusal(api, namespace, sleep) for namespace in namespaces}
    refused = {namespace: error for namespace, error in refusals.items() if error}
    for namespace in refused:
        _LOG.error(*((_NO_CLUSTER_ROLE,) if namespace == EVERY_NAMESPACE else (_NO_ROLE, namespace)))
    if len(refused) == len(refusals):
        raise next(iter(refused.values()))
    return [namespace for namespace in namespaces if namespace not in refused]


async def exit_when_served(api: KubeApi, left_out: Sequence[str], sleep: Sleep = asyncio.sleep) -> None:
    """Ends the process when one of the namespaces `left_out` can be served; the kubelet starts it again.

    Returns at once if there are none.
    """
    while left_out:
        await sleep(_RECHECK_SECONDS)
        for namespace in left_out:
            if await _refusal(api, namespace, sleep) is None:
                _LOG.warning("namespace %s can be served now: starting anew", namespace)
                os.kill(os.getpid(), signal.SIGTERM)
                return


async def _refusal(api: KubeApi, namespace: str, sleep: Sleep) -> ApiError | None:
    """The 403 of the API server, or None if we may list the objects of `namespace`."""
    while True:
        try:
            await api.get(watched_path(namespace), {"limit": "1"})
        except ApiError as error:
            if error.is_forbidden:
                return error
            _LOG.warning("whether namespace %s can be served is not known yet: %s", namespace, error)
            await sleep(error.retry_after or _RETRY_SECONDS)
        else:
            return None
