"""Tells which node a pod must run on because of the volume of its models: that of the operator, for one-node volumes.

Called by `controller.gates.pod_writer`. The operator mounts such a volume, so no other node can. The access modes of a
claim never change, so each claim is read once. What they mean is decided in `domain.pods.affinity`.
"""

from collections.abc import Iterable

from model_provisioner.domain.store.claim import Claim, is_on_one_node
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import claim_path


class Claims:
    """`mounted` are the claims that the operator's pod mounts; `node` is the node of that pod, None if not known."""

    def __init__(self, api: KubeApi, mounted: Iterable[Claim], node: str | None) -> None:
        self._api = api
        self._mounted = frozenset(mounted)
        self._node = node
        self._on_one_node: dict[Claim, bool] = {}

    async def node_of(self, claims: Iterable[Claim]) -> str | None:
        """The one node that can mount `claims`; None if there is no such limit. Raises ApiError."""
        if self._node is None:
            return None
        for claim in self._mounted.intersection(claims):
            if await self._is_on_one_node(claim):
                return self._node
        return None

    async def _is_on_one_node(self, claim: Claim) -> bool:
        """False without the right to read the claim: the scheduler may know its node by itself."""
        if claim not in self._on_one_node:
            try:
                self._on_one_node[claim] = is_on_one_node(await self._access_modes(claim))
            except ApiError as error:
                if error.is_forbidden or error.is_not_found:
                    return False
                raise
        return self._on_one_node[claim]

    async def _access_modes(self, claim: Claim) -> list[str]:
        """Those of the volume, else those that are asked for. Raises ApiError."""
        document = await self._api.get(claim_path(claim.namespace, claim.name))
        bound = (document.get("status") or {}).get("accessModes")
        modes: list[str] = bound or document["spec"].get("accessModes") or []
        return modes
