"""Reads a claim and the pods that use it from the API server, and asks `domain.scheduling.placement` where to run.

Used by `job_client` before it creates a Job. Pods are listed only for a claim that one node can mount.
"""

from collections.abc import AsyncIterator
from typing import Any

from model_provisioner.domain.errors import WorkerPending, WorkerRefused
from model_provisioner.domain.scheduling.placement import (
    ClaimState,
    ClaimUser,
    Placement,
    check_claim,
    needs_pods,
    place,
)
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import claim_path, pod_collection_path

_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_ON_A_NODE = "spec.nodeName!=,status.phase!=Succeeded,status.phase!=Failed"
_PAGE = "200"  # pods of one answer: a namespace may have thousands

Document = dict[str, Any]


class Placements:
    """`wait_for_first_consumer`: a claim without a volume gets it by another pod, never by a worker pod."""

    def __init__(self, api: KubeApi, *, wait_for_first_consumer: bool) -> None:
        self._api = api
        self._waits = wait_for_first_consumer

    async def check(self, claim: Claim) -> None:
        """Raises as `check_claim`, WorkerPending or WorkerRefused if the API server does not show the claim."""
        check_claim(claim.name, await self._claim(claim), wait_for_first_consumer=self._waits)

    async def of(self, claim: Claim) -> Placement:
        """Where the worker pod of `claim` runs now. Raises as `check` and `place`."""
        state = await self._claim(claim)
        users = check_claim(claim.name, state, wait_for_first_consumer=self._waits)
        assert state is not None  # else `check_claim` has raised
        try:
            pods = [pod async for pod in self._users(claim)] if needs_pods(state) else []
        except ApiError as error:
            raise _unreadable(claim, error) from None
        return place(claim.name, state, pods, users)

    async def _claim(self, claim: Claim) -> ClaimState | None:
        try:
            return claim_state(await self._api.get(claim_path(claim.namespace, claim.name)))
        except ApiError as error:
            if error.is_absent:
                return None
            raise _unreadable(claim, error) from None

    async def _users(self, claim: Claim) -> AsyncIterator[ClaimUser]:
        rest = ""
        while True:
            query = {"fieldSelector": _ON_A_NODE, "limit": _PAGE, **({"continue": rest} if rest else {})}
            answer = await self._api.get(pod_collection_path(claim.namespace), query)
            for pod in answer["items"]:
                if uses(pod, claim.name):
                    yield _claim_user(pod)
            rest = answer["metadata"].get("continue") or ""
            if not rest:
                return


def claim_state(document: Document) -> ClaimState:
    metadata, status = document["metadata"], document.get("status") or {}
    annotations = metadata.get("annotations") or {}
    return ClaimState(
        access_modes=frozenset(status.get("accessModes") or document["spec"].get("accessModes") or ()),
        is_bound=status.get("phase") != "Pending",
        is_being_deleted="deletionTimestamp" in metadata,
        selected_node=annotations.get(_SELECTED_NODE) or None,
        annotations=annotations,
    )


def uses(pod: Document, claim: str) -> bool:
    volumes = pod["spec"].get("volumes") or ()
    return any((volume.get("persistentVolumeClaim") or {}).get("claimName") == claim for volume in volumes)


def _claim_user(pod: Document) -> ClaimUser:
    metadata, phase = pod["metadata"], (pod.get("status") or {}).get("phase")
    return ClaimUser(metadata["name"], pod["spec"]["nodeName"], phase == "Running", "deletionTimestamp" in metadata)


def _unreadable(claim: Claim, error: ApiError) -> WorkerPending | WorkerRefused:
    what = f"no worker pod for claim {claim.name}: the API server does not tell where it is in use: {error.message}"
    return WorkerPending(what, error.retry_after) if error.is_transient else WorkerRefused(what)
