"""Which claims exist in the served namespaces and which volume each has, by list and watch. Only with worker pods.

A claim that the operator does not mount can be deleted, or replaced by one with another volume, while no worker pod is
there to notice. Then the reconciliations of its Ready objects are told through the file monitor: they ask the API
server for the claim, or a worker pod for the store. That a claim is gone is asked anew before, so that no gap in a
watch counts. A claim that appears, or gets its volume, is told to what waits for it. Run by `controller.start_stores`.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import claim_path, watched_claims_path

_LOG = logging.getLogger(__name__)
_PAGE_SIZE = 200
_INTERVAL_SECONDS = 300.0

Document = Mapping[str, Any]


class ClaimWatch:
    """The claims of `namespaces`, of which "*" means all. Run `run` as a task. `sleep` is in seconds."""

    def __init__(
        self,
        api: KubeApi,
        namespaces: Sequence[str],
        file_monitor: FileMonitor,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._file_monitor = file_monitor
        self._sleep = sleep
        self._volumes: dict[Claim, str | None] = {}
        self._waiting = defaultdict[Claim, set[asyncio.Event]](set)
        self._suspect = asyncio.Queue[Claim]()
        self._reflectors = [
            Reflector(api, watched_claims_path(namespace), page_size=_PAGE_SIZE) for namespace in namespaces
        ]
        for reflector in self._reflectors:
            reflector.set_transform(_trimmed)
            reflector.add_listener(self._on_claim)

    def volume_of(self, claim: Claim) -> str | None:
        """The PersistentVolume of `claim`; None if it has none, or if that is not known."""
        return self._volumes.get(claim)

    def is_replaced(self, claim: Claim, volume_name: str | None) -> bool:
        """Whether `claim` exists and has another volume than `volume_name`, or none. False if that is not known."""
        return volume_name is not None and claim in self._volumes and self._volumes[claim] != volume_name

    async def until_changed(self, claim: Claim) -> None:
        """Returns when `claim` appears, or gets a volume."""
        changed = asyncio.Event()
        self._waiting[claim].add(changed)
        try:
            await changed.wait()
        finally:
            self._waiting[claim].discard(changed)
            if not self._waiting[claim]:
                del self._waiting[claim]

    async def run(self) -> None:
        """Watches until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for reflector in self._reflectors:
                tasks.create_task(reflector.run())
            tasks.create_task(self._look_periodically())
            while True:
                await self._look_for(await self._suspect.get())

    async def _look_periodically(self) -> None:
        """Also finds what changed while no operator ran."""
        for reflector in self._reflectors:
            await reflector.synced.wait()
        while True:
            for claim in self._file_monitor.claims_of_pods:
                if claim not in self._volumes:
                    self._suspect.put_nowait(claim)
                else:
                    self._file_monitor.notify_other_volumes(claim, self._volumes[claim])
            await self._sleep(_INTERVAL_SECONDS)

    async def _look_for(self, claim: Claim) -> None:
        """Tells the objects on `claim` if the API server says that it does not exist."""
        try:
            await self._api.get(claim_path(claim.namespace, claim.name))
        except ApiError as error:
            if error.is_absent:
                _LOG.warning("claim %s/%s is gone", claim.namespace, claim.name)
                self._file_monitor.notify_all(claim)

    def _on_claim(self, kind: str, document: Document) -> None:
        claim = Claim(document["metadata"]["namespace"], document["metadata"]["name"])
        if kind == "DELETED":
            self._volumes.pop(claim, None)
            self._suspect.put_nowait(claim)
            return
        before, volume = self._volumes.get(claim), document["spec"].get("volumeName")
        is_new = claim not in self._volumes
        self._volumes[claim] = volume
        if is_new or volume != before:
            self._file_monitor.notify_other_volumes(claim, volume)
            for changed in self._waiting.get(claim, ()):
                changed.set()


def _trimmed(document: Document) -> dict[str, Any]:
    metadata = document["metadata"]
    return {"metadata": {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}}
