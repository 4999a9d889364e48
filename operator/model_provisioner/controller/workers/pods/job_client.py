"""The Jobs of worker pods on the API server: creating, deleting, listing them, and reading what became of their pods.

What a Job looks like is in `manifests`, what a status means in `pod_states`. Called by `claim_pod` and `pod_pool`.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from model_provisioner.controller.workers.pods.manifests import (
    AUTHORITY_HASH,
    CLAIM,
    INSTANCE_LABEL,
    JOB_LABEL,
    NAME_LABEL,
    NODE,
    PLACEMENT,
    REVISION,
    TOKEN_HASH,
    WORKER_NAME,
    JobSettings,
    authority_hash,
    job_manifest,
    job_name,
    secret_manifest,
    secret_name,
)
from model_provisioner.controller.workers.pods.placements import Placements
from model_provisioner.controller.workers.pods.pod_secrets import fault
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState, is_alive, state_of
from model_provisioner.domain.errors import ClaimNotMounted, ProvisionError, WorkerPending, WorkerRefused
from model_provisioner.domain.scope import EVERY_NAMESPACE
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import ApiError, KubeApi

_TOKEN_BYTES = 32
_SHOWN = 400  # characters of the reason of a placement, which anyone may change who may change Jobs
_BACKGROUND = {"propagationPolicy": "Background"}  # the API server leaves the pods of a Job behind by default


@dataclass(frozen=True, slots=True)
class WorkerJob:
    """A Job as far as the operator must know it. `token_hash` is hexadecimal.

    `node` is the only one that its pod may run on, and `placement` says why it runs there. `authority_hash` is the
    SHA-256 of the certificates that it trusts.
    """

    claim: Claim
    name: str
    uid: str
    token_hash: str
    revision: str
    is_over: bool = False
    node: str | None = None
    placement: str = ""
    authority_hash: str = ""

    @property
    def full_name(self) -> str:
        return f"{self.claim.namespace}/{self.name}"


class JobClient:
    """The Jobs of one release. `settings` are what they have in common.

    `wait_for_first_consumer`: a claim without a volume gets it by another pod, never by a worker pod.
    """

    def __init__(self, api: KubeApi, settings: JobSettings, *, wait_for_first_consumer: bool = False) -> None:
        self._api = api
        self._settings = settings
        self._placements = Placements(api, wait_for_first_consumer=wait_for_first_consumer)
        self._authority: bytes | None = None
        self._problem = "there is no certificate for the operator's door yet"

    def fits(self, job: WorkerJob) -> bool:
        """Whether `job` is as a new one for its claim would be, and its pod can connect with what it trusts.

        One with another name may be beside that. While the door has no certificate, any pod may have to wait for one.
        """
        trusts = self._authority is None or job.authority_hash == authority_hash(self._authority)
        has_name = job.name == job_name(self._settings.instance, job.claim)
        return has_name and job.revision == self._settings.revision and trusts

    def trust(self, authority: bytes | None, problem: str = "") -> None:
        """The certificates in PEM that the pods of new Jobs trust. None: there is no new Job, because of `problem`."""
        self._authority, self._problem = authority, problem

    async def find_all(self, namespaces: Iterable[str]) -> list[WorkerJob]:
        """The Jobs of this release in `namespaces`, also those that are over. Raises ApiError."""
        found = []
        query = {"labelSelector": f"{NAME_LABEL}={WORKER_NAME},{INSTANCE_LABEL}={self._settings.instance}"}
        for namespace in namespaces:
            path = "/apis/batch/v1/jobs" if namespace == EVERY_NAMESPACE else _jobs(namespace)
            answer = await self._api.get(path, query)
            found += [_worker_job(item) for item in answer["items"]]
        return found

    async def check(self, claim: Claim) -> None:
        """Raises WorkerRefused if no pod could connect, and as `placements` if `claim` is none to start a pod for."""
        self._trusted(claim)
        await self._placements.check(claim)

    async def create(self, claim: Claim) -> WorkerJob:
        """Creates the Job of `claim` and its Secret.

        Raises WorkerPending while the pod of an earlier Job ends, WorkerRefused if the API server admits no Job or none
        can connect, ClaimNotMounted if the namespace is being deleted; and as `placements`.
        """
        name, authority = job_name(self._settings.instance, claim), self._trusted(claim)
        try:
            await self._check_predecessor(claim, name)
            placement = await self._placements.of(claim)
            token = secrets.token_urlsafe(_TOKEN_BYTES)
            manifest = job_manifest(self._settings, claim, token, placement, authority)
            job = await self._api.create(_jobs(claim.namespace), manifest)
            try:
                secret = secret_manifest(self._settings, job, token, authority)
                await self._api.create(f"/api/v1/namespaces/{claim.namespace}/secrets", secret)
            except ApiError:
                await self.delete(claim.namespace, name)
                raise
        except ApiError as error:
            raise _refusal(claim, error) from None
        return _worker_job(job)

    def _trusted(self, claim: Claim) -> bytes:
        if self._authority is None:
            raise WorkerRefused(f"no worker pod for claim {claim.name}: {self._problem}")
        return self._authority

    async def delete(self, namespace: str, name: str) -> None:
        """Deletes a Job, and its pod and its Secret with it. Raises ApiError, not if it is gone."""
        try:
            await self._api.delete(f"{_jobs(namespace)}/{name}", _BACKGROUND)
        except ApiError as error:
            if not error.is_not_found:
                raise

    async def state(self, job: WorkerJob) -> PodState:
        """What became of the pod of `job`. Raises ApiError."""
        pods = [pod for pod in await self._pods(job.claim, job.name) if _owner(pod) == job.uid]
        if pods:
            found = state_of(None, pods, ())
            return await self._without_secret(job, found) or await self._in_place(job, found, pods)
        document = await self._job(job)
        found = state_of(document, (), ())
        if found.phase is not Phase.PENDING:
            return found
        selector = f"involvedObject.kind=Job,involvedObject.uid={job.uid}"
        events = await self._api.get(f"/api/v1/namespaces/{job.claim.namespace}/events", {"fieldSelector": selector})
        return state_of(document, (), events["items"])

    async def _without_secret(self, job: WorkerJob, state: PodState) -> PodState | None:
        """The end of a pod in `state` that can't connect with the Secret that it has; None if it can."""
        if state.phase is not Phase.PENDING:
            return None
        path = f"/api/v1/namespaces/{job.claim.namespace}/secrets/{secret_name(job.name, job.token_hash)}"
        try:
            secret = await self._api.get(path)
        except ApiError as error:
            if not error.is_not_found:
                raise
            secret = None
        return fault(secret, job.token_hash, job.authority_hash, state.phase)

    async def _in_place(self, job: WorkerJob, state: PodState, pods: list[dict[str, Any]]) -> PodState:
        """`state` with the reason of its place. A pod without a node is given up if it belongs elsewhere now."""
        if state.phase is not Phase.PENDING:
            return state
        if job.node and not any((pod.get("spec") or {}).get("nodeName") for pod in pods):
            try:
                node = (await self._placements.of(job.claim)).node
            except ProvisionError as error:
                return PodState(Phase.ENDED, error.message)
            if node != job.node:
                return PodState(Phase.ENDED, f"the claim is not in use on node {job.node} any more")
        return PodState(state.phase, f"{job.placement}: {state.message}") if job.placement else state

    async def _check_predecessor(self, claim: Claim, name: str) -> None:
        """Two workers must never write to one claim: the one before may still end."""
        alive = [pod for pod in await self._pods(claim, name) if is_alive(pod)]
        if alive:
            state = state_of(None, alive[:1], ())
            what = state.message if state.phase is Phase.ENDED else f"pod {alive[0]['metadata']['name']} runs"
            node = (alive[0].get("spec") or {}).get("nodeName")
            where = f" on node {node}; if that node is lost for good, delete it or the pod (--force)" if node else ""
            raise WorkerPending(f"waiting for the worker before to end: {what}{where}")

    async def _pods(self, claim: Claim, name: str) -> list[dict[str, Any]]:
        path, query = f"/api/v1/namespaces/{claim.namespace}/pods", {"labelSelector": f"{JOB_LABEL}={name}"}
        items: list[dict[str, Any]] = (await self._api.get(path, query))["items"]
        return items

    async def _job(self, job: WorkerJob) -> dict[str, Any] | None:
        try:
            document = await self._api.get(f"{_jobs(job.claim.namespace)}/{job.name}")
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        return document if document["metadata"]["uid"] == job.uid else None


def _jobs(namespace: str) -> str:
    return f"/apis/batch/v1/namespaces/{namespace}/jobs"


def _owner(pod: dict[str, Any]) -> str | None:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((owner["uid"] for owner in owners if owner.get("controller")), None)


def _worker_job(document: dict[str, Any]) -> WorkerJob:
    metadata = document["metadata"]
    annotations = metadata.get("annotations") or {}
    conditions = (document.get("status") or {}).get("conditions") or ()
    is_over = "deletionTimestamp" in metadata or any(
        one.get("type") in {"Complete", "Failed"} and one.get("status") == "True" for one in conditions
    )
    return WorkerJob(
        Claim(metadata["namespace"], annotations.get(CLAIM, "")),
        metadata["name"],
        metadata["uid"],
        annotations.get(TOKEN_HASH, ""),
        annotations.get(REVISION, ""),
        is_over,
        annotations.get(NODE),
        annotations.get(PLACEMENT, "")[:_SHOWN],
        annotations.get(AUTHORITY_HASH, ""),
    )


def _refusal(claim: Claim, error: ApiError) -> ProvisionError:
    what = f"no worker pod for claim {claim.name}"
    if error.is_forbidden and "being terminated" in error.message:
        return ClaimNotMounted(f"{what}: namespace {claim.namespace} is being deleted")
    if error.is_conflict:
        return WorkerPending(f"{what} yet: the Job of the worker before is being deleted")
    if error.is_transient:
        return WorkerPending(f"{what} yet: {error.message}", error.retry_after)
    return WorkerRefused(f"{what}: the API server refuses its Job: {error.message}")
