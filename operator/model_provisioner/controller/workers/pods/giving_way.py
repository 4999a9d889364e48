"""Finds the pods that wait for the claims of worker pods without work. `domain.scheduling.giving_way` has the rule.

Called by `pod_pool` at each look, for idle worker pods only. It asks for pods that have not started, one page of the
claim's namespace, and for nothing if any number of nodes can mount the claim. Nothing is watched.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from model_provisioner.controller.workers.pods.job_client import WorkerJob
from model_provisioner.controller.workers.pods.manifests import JOB_LABEL
from model_provisioner.controller.workers.pods.placements import claim_state, uses
from model_provisioner.domain.scheduling.giving_way import WaitingPod, first_in_need
from model_provisioner.domain.store.claim import is_on_one_node
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import claim_path, pod_collection_path

_LOG = logging.getLogger(__name__)
_MOST = 10  # Jobs of one look; the others have their turn at the next one
_PAGE = {"fieldSelector": "status.phase=Pending", "limit": "100"}
_LARGEST_ANSWER = 16 * 1024**2  # bytes; a usual pod has some 10 KiB

Document = dict[str, Any]


@dataclass(slots=True)
class _Worker:
    """What is known of an idle worker pod. `looks` counts those for it; `access_modes` are those of its claim.

    `node` is read when it matters.
    """

    looks: int = 0
    access_modes: frozenset[str] | None = None
    node: str | None = None

    @property
    def is_in_no_way(self) -> bool:
        return self.access_modes is not None and not is_on_one_node(self.access_modes)


class GivingWay:
    """Remembers what stays as it is while a pod idles: the access modes of the claim, and the node of the pod."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api
        self._workers: dict[str, _Worker] = {}  # by the uid of the Job

    async def find(self, idle: Iterable[WorkerJob]) -> dict[WorkerJob, str]:
        """Those of `idle` that end now, with the name of a pod that waits for the claim.

        `idle` are all whose pods have no work. If the API server does not tell, no pod waits.
        """
        jobs = list(idle)
        self._workers = {job.uid: self._workers.get(job.uid) or _Worker() for job in jobs}
        jobs = [job for job in jobs if not self._workers[job.uid].is_in_no_way]
        jobs.sort(key=lambda job: self._workers[job.uid].looks)
        found = await asyncio.gather(*(self._look(job, self._workers[job.uid]) for job in jobs[:_MOST]))
        return {job: pod.name for job, pod in zip(jobs, found, strict=False) if pod}

    async def _look(self, job: WorkerJob, worker: _Worker) -> WaitingPod | None:
        worker.looks += 1
        try:
            if worker.access_modes is None:
                claim = await self._api.get(claim_path(job.claim.namespace, job.claim.name))
                worker.access_modes = claim_state(claim).access_modes
            pods = [] if worker.is_in_no_way else await self._waiting(job)
            if worker.node is None and any(pod.node for pod in pods):
                worker.node = await self._node(job)
        except ApiError as error:
            _LOG.debug("it is not known whether a pod waits for claim %s: %s", job.claim, error)
            return None
        return first_in_need(pods, worker.access_modes, worker.node)

    async def _waiting(self, job: WorkerJob) -> list[WaitingPod]:
        answer = await self._api.get(pod_collection_path(job.claim.namespace), _PAGE, max_bytes=_LARGEST_ANSWER)
        return [_waiting_pod(pod) for pod in answer["items"] if uses(pod, job.claim.name) and not _is_own(pod, job)]

    async def _node(self, job: WorkerJob) -> str | None:
        query = {"labelSelector": f"{JOB_LABEL}={job.name}", "limit": "1"}
        answer = await self._api.get(pod_collection_path(job.claim.namespace), query)
        return next((pod["spec"].get("nodeName") for pod in answer["items"]), None)


def _waiting_pod(pod: Document) -> WaitingPod:
    metadata, spec = pod["metadata"], pod["spec"]
    node = spec.get("nodeName") or None
    return WaitingPod(metadata["name"], node, bool(spec.get("schedulingGates")), "deletionTimestamp" in metadata)


def _is_own(pod: Document, job: WorkerJob) -> bool:
    """Whether it is the worker pod itself, whose kubelet has not told yet that it runs."""
    return (pod["metadata"].get("labels") or {}).get(JOB_LABEL) == job.name
