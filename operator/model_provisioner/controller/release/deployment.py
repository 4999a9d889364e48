"""Ends the operator: scales its Deployment to 0 and waits for its pods. Called by `uninstall`.

What happens if a pod does not end is decided there.
"""

import asyncio
import contextlib
import logging

from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import pod_collection_path, scale_path

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 1.0
_ENDED_PHASES = frozenset({"Succeeded", "Failed"})


async def scale_to_zero(api: KubeApi, namespace: str, deployment: str) -> str:
    """Returns the label selector of the Deployment's pods; empty if there is no Deployment.

    Raises ApiError if the API server refuses the request for good.
    """
    while True:
        try:
            scale = await api.patch(scale_path(namespace, deployment), {"spec": {"replicas": 0}})
            return str(scale.get("status", {}).get("selector", ""))
        except ApiError as error:
            if error.is_not_found:
                _LOG.warning("there is no Deployment %s, so there is no operator to end", deployment)
                return ""
            if not (error.is_transient or error.is_conflict):
                raise
            _LOG.warning("the Deployment is not scaled yet: %s", error)
            await asyncio.sleep(error.retry_after or _POLL_SECONDS)


async def wait_for_pods(api: KubeApi, namespace: str, selector: str, deadline: float) -> None:
    """Waits until the pods have ended, at most until `deadline`, a time of the event loop.

    The Lease alone is not enough: an operator that is just starting has neither asked for it nor seen SIGTERM. At the
    deadline, the containers have been killed, or their node is lost. Raises ApiError if the pods may not be listed.
    """
    left: list[str] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            while True:
                left = await _running_pods(api, namespace, selector)
                if not left:
                    return
                await asyncio.sleep(_POLL_SECONDS)
    _LOG.warning("not waiting any longer for the operator's pods (is a node lost?): %s", ", ".join(left) or "unknown")


async def _running_pods(api: KubeApi, namespace: str, selector: str) -> list[str]:
    """The names of the pods whose containers may run."""
    try:
        pods = (await api.get(pod_collection_path(namespace), {"labelSelector": selector}))["items"]
    except ApiError as error:
        if not error.is_transient:
            raise
        return [f"unknown, because {error}"]
    return [pod["metadata"]["name"] for pod in pods if pod.get("status", {}).get("phase") not in _ENDED_PHASES]
