"""Who acts: a `coordination.k8s.io` Lease, held by one operator at a time.

Taken before any object is looked at and renewed while the operator runs; who loses it must stop at
once. Whether a foreign Lease has expired is judged by watching it not change for its whole duration on
our own clock, never by comparing clocks of two machines. `leaseTransitions` is the epoch that journals
carry, so that a writer from an earlier reign is recognised.

It outlasts an API server that is away for half a minute, as it is while it is upgraded: downloads go on. The price is
that after the death of a node another operator waits for a minute; a restarted container does not, nor does an update.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from model_provisioner.domain.liveness import RENEWAL_SECONDS
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import LEASE_NAME, lease_collection_path

_LOG = logging.getLogger(__name__)
DURATION_SECONDS = 60
_RETRY_SECONDS = 1.0
_ANSWER_SECONDS = 4.0  # of one request: a dead connection must leave time for another one
_GIVE_UP_SECONDS = 45.0  # what is left of the duration is for ending
_POLL_SECONDS = 2.0

Document = Mapping[str, Any]


class LeaseLost(Exception):
    """Another operator acts now, or we could not tell for too long."""


class Lease:
    """The Lease of `identity`. A restarted container with the same identity goes on at once."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        identity: str,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._collection = lease_collection_path(namespace)
        self._identity = identity
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._seen: tuple[object, float] | None = None  # a version, and since when it has not changed

    async def acquire(self) -> int:
        """Waits until the Lease is ours, also for the API server; returns its epoch. Raises ApiError if refused."""
        while True:
            pause = _POLL_SECONDS
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    current = await self._read()
                    epoch = await self._take(current) if self._may_be_taken(current) else None
                if epoch is not None:
                    return epoch
            except TimeoutError:
                _LOG.warning("waiting for the API server: no answer")
            except ApiError as error:
                if not error.is_transient:
                    raise
                _LOG.warning("waiting for the API server: %s", error)
                pause = error.retry_after or pause
            await self._sleep(pause)

    async def keep(self) -> None:
        """Renews until cancelled. Raises LeaseLost when it is no longer certain that we hold it.

        Certain is what was answered, counted from when it was asked; a request without an answer is given up in time.
        """
        renewed, pause = self._monotonic(), RENEWAL_SECONDS
        while True:
            await self._sleep(pause)
            begun = self._monotonic()
            try:
                async with asyncio.timeout(min(_ANSWER_SECONDS, renewed + _GIVE_UP_SECONDS - begun)):
                    await self._renew()
                renewed = begun
                pause = max(0.0, renewed + RENEWAL_SECONDS - self._monotonic())
            except (ApiError, TimeoutError, OSError) as error:
                _LOG.warning("the Lease could not be renewed: %s", str(error) or "no answer")
                if self._monotonic() - renewed >= _GIVE_UP_SECONDS:
                    raise LeaseLost(f"not renewed for {_GIVE_UP_SECONDS:.0f}s") from None
                pause = _RETRY_SECONDS

    async def release(self) -> None:
        """Gives it up, so that the next operator need not wait; where that fails, it waits until it has expired."""
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                current = await self._read()
                if current and current["spec"].get("holderIdentity") == self._identity:
                    await self._write(current, {"holderIdentity": "", "leaseDurationSeconds": 1})
        except (ApiError, TimeoutError) as error:
            _LOG.warning("the Lease could not be given up: %s", str(error) or "no answer")

    def _may_be_taken(self, current: Document | None) -> bool:
        holder = current["spec"].get("holderIdentity") if current else None
        mark = current["metadata"]["resourceVersion"] if current else None
        if self._seen is None or self._seen[0] != mark:
            self._seen = (mark, self._monotonic())
        expired = self._monotonic() - self._seen[1] > DURATION_SECONDS
        if holder and holder != self._identity and not expired:
            _LOG.info("waiting: %s holds the Lease %s", holder, LEASE_NAME)
            return False
        return True

    async def _renew(self) -> None:
        current = await self._read()
        if current is None or current["spec"].get("holderIdentity") != self._identity:
            raise LeaseLost("another operator has taken the Lease")
        await self._write(current, {})

    async def _take(self, current: Document | None) -> int | None:
        """The epoch, or None if somebody was faster."""
        try:
            if current is None:
                created = await self._api.create(self._collection, self._document())
                return int(created["spec"]["leaseTransitions"])
            before = current["spec"]
            ours = before.get("holderIdentity") == self._identity
            epoch = int(before.get("leaseTransitions") or 0) + (0 if ours else 1)
            await self._write(current, {"leaseTransitions": epoch, "acquireTime": self._stamp()})
        except ApiError as error:
            if error.is_conflict:
                return None
            raise
        return epoch

    async def _read(self) -> Document | None:
        try:
            lease: Document = await self._api.get(f"{self._collection}/{LEASE_NAME}")
        except ApiError as error:
            if error.is_not_found:
                return None
            raise
        return lease

    async def _write(self, current: Document, changes: Mapping[str, object]) -> None:
        """A merge-patch with the resourceVersion that was read: of two writers one gets 409."""
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "renewTime": self._stamp(),
            **changes,
        }
        metadata = {"resourceVersion": current["metadata"]["resourceVersion"]}
        await self._api.patch(f"{self._collection}/{LEASE_NAME}", {"metadata": metadata, "spec": spec})

    def _document(self) -> dict[str, Any]:
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION_SECONDS,
            "acquireTime": self._stamp(),
            "renewTime": self._stamp(),
            "leaseTransitions": 1,
        }
        metadata = {"name": LEASE_NAME}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _stamp(self) -> str:
        """Kubernetes' MicroTime."""
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
