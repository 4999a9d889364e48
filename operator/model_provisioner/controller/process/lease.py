"""Leader election with a `coordination.k8s.io` Lease: at most one operator acts at a time. Called by `app`.

The Lease is acquired before any object is read and renewed while the operator runs; an operator that loses it must
stop at once, which `ending` does. As in client-go, another holder's Lease has expired if it did not change for its
duration on our own clock: clocks of two machines are never compared. `leaseTransitions` is the epoch in the journals
of the stores: it identifies a writer whose operator has lost the Lease.

How long the Lease lasts is decided in `domain.liveness`. Another operator does not wait for its end if the holder's pod
is gone, as after a forced deletion or the loss of a node. A process of that pod may still run on a node that is cut
off; it may write until its own deadline, and the epoch makes its writes harmless.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from model_provisioner.domain.liveness import (
    ALONE,
    RENEWAL_SECONDS,
    LeaseHolder,
    LeaseTerms,
    PodObservation,
    is_gone,
    promised_seconds,
)
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import LEASE_NAME, lease_collection_path, pod_path

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0
_REQUEST_TIMEOUT_SECONDS = 4.0  # a dead connection must leave time for another try
_POD_LOOK_SECONDS = 2.0
_SAID_AGAIN_SECONDS = 60.0
_FRESH_SECONDS = 10.0

Document = Mapping[str, Any]


class LeaseLost(Exception):
    """Another operator holds the Lease, or it could not be renewed before the deadline."""


class Lease:
    """The Lease in `namespace`, for the holder `identity`.

    A restarted container with the same identity takes it at once. The pod of another holder is looked up in
    `namespace`, so an operator whose pod is elsewhere must have an identity without uid. `now` returns the time in UTC
    for the timestamps in the Lease; `monotonic`, in seconds, decides about expiry. `on_term` is called with the time on
    this clock at which we must have ended unless it is called again, and with infinity when the Lease is given up.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        identity: LeaseHolder,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        terms: LeaseTerms = ALONE,
        on_term: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._collection = lease_collection_path(namespace)
        self._name = identity.name
        self._identity = str(identity)
        self._now = now
        self._monotonic = monotonic
        self._sleep = sleep
        self._terms = terms
        self._on_term = on_term
        self._observed: tuple[object, float] | None = None  # a resourceVersion, and when we first saw it
        self._read_at = self._looked_for_pod_at = float("-inf")
        self._renewed_at: float | None = None
        self._unknown = ""  # why it is not known whether the holder's pod is gone
        self._said: tuple[str, float] | None = None  # what the log says about the holder, and when it did

    def is_followed(self) -> bool:
        """Whether the API server has told of the Lease just now: an operator that waits will see its end."""
        return self._monotonic() - self._read_at < _FRESH_SECONDS

    async def acquire(self) -> int:
        """Waits until we hold the Lease, also if the API server is not reachable. Returns the epoch.

        Raises ApiError if the API server refuses the request for good, such as with 403.
        """
        while True:
            pause = self._terms.poll
            try:
                begun = self._monotonic()
                async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                    current = await self._read()
                    epoch = await self._try_acquire(current) if await self._is_free(current) else None
                if epoch is not None:
                    self._hold_since(begun)
                    return epoch
            except TimeoutError:
                _LOG.warning("waiting for the API server: no answer")
            except ApiError as error:
                if not error.is_transient:
                    raise
                _LOG.warning("waiting for the API server: %s", error)
                pause = error.retry_after or max(pause, _RETRY_SECONDS)
            await self._sleep(pause)

    async def renew(self) -> None:
        """Renews until cancelled. Raises LeaseLost if we may not hold it any more.

        The deadline counts from the start of the last request that was answered. A request without an answer is
        cancelled at the deadline.
        """
        renewed = self._monotonic() if self._renewed_at is None else self._renewed_at
        pause = RENEWAL_SECONDS
        while True:
            await self._sleep(pause)
            begun = self._monotonic()
            try:
                async with asyncio.timeout(min(_REQUEST_TIMEOUT_SECONDS, renewed + self._terms.deadline - begun)):
                    await self._renew_once()
                renewed = begun
                self._hold_since(begun)
                pause = max(0.0, renewed + RENEWAL_SECONDS - self._monotonic())
            except (ApiError, TimeoutError, OSError) as error:
                _LOG.warning("the Lease could not be renewed: %s", str(error) or "no answer")
                if self._monotonic() - renewed >= self._terms.deadline:
                    raise LeaseLost(f"not renewed for {self._terms.deadline:.0f}s") from None
                pause = _RETRY_SECONDS

    async def release(self) -> None:
        """Gives the Lease up, so that the next operator acquires it at once. A failure is logged: then it expires."""
        self._on_term(math.inf)
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_SECONDS):
                current = await self._read()
                if current and current["spec"].get("holderIdentity") == self._identity:
                    await self._write(current, {"holderIdentity": "", "leaseDurationSeconds": 1})
        except (ApiError, TimeoutError) as error:
            _LOG.warning("the Lease could not be given up: %s", str(error) or "no answer")

    async def _is_free(self, current: Document | None) -> bool:
        """Whether the Lease does not exist, is ours, has no holder, has expired, or its holder's pod is gone.

        An older version wrote the name of the pod alone; such a Lease of our own pod is ours.
        """
        holder = current["spec"].get("holderIdentity") if current else None
        version = current["metadata"]["resourceVersion"] if current else None
        if self._observed is None or self._observed[0] != version:
            self._observed = (version, self._monotonic())
        promised = promised_seconds(current["spec"].get("leaseDurationSeconds")) if current else 0
        expired = self._monotonic() - self._observed[1] > promised
        return expired or holder in {None, "", self._identity, self._name} or await self._has_lost_its_pod(holder)

    async def _has_lost_its_pod(self, identity: str) -> bool:
        """Whether the API server says that the pod of another holder is gone; False if it does not say."""
        holder = LeaseHolder.parse(identity)
        if holder.uid and self._monotonic() - self._looked_for_pod_at >= _POD_LOOK_SECONDS:
            self._looked_for_pod_at = self._monotonic()
            self._unknown = ""
            try:
                if is_gone(holder, await self._find_pod(holder.name)):
                    _LOG.warning("the pod of %s is gone: taking the Lease %s over", holder, LEASE_NAME)
                    return True
            except ApiError as error:
                self._unknown = f"; whether its pod is gone is not known: {error}"
        self._say(f"waiting: {holder} holds the Lease {LEASE_NAME}{self._unknown}")
        return False

    def _say(self, text: str) -> None:
        """Logs `text` if it is new, and each minute: one of two replicas waits for as long as it runs."""
        now = self._monotonic()
        if self._said is None or self._said[0] != text or now - self._said[1] >= _SAID_AGAIN_SECONDS:
            self._said = (text, now)
            _LOG.info("%s", text)

    def _hold_since(self, begun: float) -> None:
        """The Lease is ours for its terms from `begun` on, the start of a request that was answered."""
        self._renewed_at = begun
        self._on_term(begun + self._terms.deadline)

    async def _find_pod(self, name: str) -> PodObservation | None:
        """The pod of this name; None without one. Raises ApiError, also for a 404 that is a proxy's."""
        try:
            pod = await self._api.get(pod_path(self._namespace, name))
        except ApiError as error:
            if error.is_not_found and error.reason == "NotFound":
                return None
            raise
        return PodObservation(pod["metadata"]["uid"], pod.get("status", {}).get("phase", ""))

    async def _renew_once(self) -> None:
        current = await self._read()
        if current is None or current["spec"].get("holderIdentity") != self._identity:
            raise LeaseLost("another operator has taken the Lease")
        await self._write(current, {})

    async def _try_acquire(self, current: Document | None) -> int | None:
        """Returns the epoch, or None if another operator was faster."""
        try:
            if current is None:
                created = await self._api.create(self._collection, self._document())
                return int(created["spec"]["leaseTransitions"])
            spec = current["spec"]
            ours = spec.get("holderIdentity") == self._identity
            epoch = int(spec.get("leaseTransitions") or 0) + (0 if ours else 1)
            await self._write(current, {"leaseTransitions": epoch, "acquireTime": self._timestamp()})
        except ApiError as error:
            if error.is_conflict:
                return None
            raise
        return epoch

    async def _read(self) -> Document | None:
        try:
            lease: Document | None = await self._api.get(f"{self._collection}/{LEASE_NAME}")
        except ApiError as error:
            if not error.is_not_found:
                raise
            lease = None
        self._read_at = self._monotonic()
        return lease

    async def _write(self, current: Document, changes: Mapping[str, object]) -> None:
        """Sends a merge patch with the resourceVersion that was read: of two writers, one is answered with 409."""
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._terms.duration,
            "renewTime": self._timestamp(),
            **changes,
        }
        metadata = {"resourceVersion": current["metadata"]["resourceVersion"]}
        await self._api.patch(f"{self._collection}/{LEASE_NAME}", {"metadata": metadata, "spec": spec})

    def _document(self) -> dict[str, Any]:
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": self._terms.duration,
            "acquireTime": self._timestamp(),
            "renewTime": self._timestamp(),
            "leaseTransitions": 1,
        }
        metadata = {"name": LEASE_NAME}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}

    def _timestamp(self) -> str:
        """The present time as a Kubernetes MicroTime."""
        return self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
