"""Writes to the API server for a pod: the patch that opens its gate, and Events.

Called by `controller.gates.namespace_gates`, which decides what is written and what follows from an error.
"""

import logging

from model_provisioner.controller.gates.claims import Claims
from model_provisioner.domain.pods.decision import Holding, Opening
from model_provisioner.domain.pods.gated_pod import GatedPod
from model_provisioner.domain.pods.patch import opening_patch
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.events import EventPoster, Involved
from model_provisioner.kube.resource import pod_path

_LOG = logging.getLogger(__name__)
OPENED = "GateOpened"


class PodWriter:
    """For the pods of every namespace."""

    def __init__(self, api: KubeApi, claims: Claims, events: EventPoster) -> None:
        self._api = api
        self._claims = claims
        self._events = events

    async def open(self, pod: GatedPod, opening: Opening) -> int:
        """Opens the gate by one patch. Returns the resourceVersion that the pod has now. Raises ApiError."""
        claims = {Claim(pod.namespace, model.claim) for model in opening.models}
        operations = opening_patch(pod, opening, await self._claims.node_of(claims))
        answer = await self._api.patch(pod_path(pod.namespace, pod.name), operations, "json")
        _LOG.info("%s/%s: the gate of the pod is open: %s", pod.namespace, pod.name, _names(opening))
        return int(answer["metadata"]["resourceVersion"])

    async def tell_opened(self, pod: GatedPod, opening: Opening) -> None:
        await self._events.post(_involved(pod), "Normal", OPENED, f"Ready: {_names(opening)}; the pod may be scheduled")

    async def tell(self, pod: GatedPod, holding: Holding) -> None:
        kind = "Warning" if holding.is_broken else "Normal"
        await self._events.post(_involved(pod), kind, holding.reason, holding.message)


def _names(opening: Opening) -> str:
    return ", ".join(model.name for model in opening.models)


def _involved(pod: GatedPod) -> Involved:
    return Involved("v1", "Pod", pod.namespace, pod.name, pod.uid, str(pod.version))
