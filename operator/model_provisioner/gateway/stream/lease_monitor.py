"""Reads the operator's Lease every few seconds, and sets on the board whether an operator acts.

The gateway may get this one Lease but not watch it, so it polls. `domain.liveness` judges what it reads.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from model_provisioner.domain.liveness import LeaseObservation, is_renewed, observe
from model_provisioner.gateway.board import Board
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import LEASE_NAME, lease_collection_path

_LOG = logging.getLogger(__name__)
_POLL_SECONDS = 5.0
_FORBIDDEN_SECONDS = 300.0


class OperatorLeaseMonitor:
    """`namespace` is that of the Lease. If there is no Lease, no operator acts. `monotonic` is a clock in seconds."""

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        board: Board,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._path = f"{lease_collection_path(namespace)}/{LEASE_NAME}"
        self._board = board
        self._monotonic = monotonic
        self._sleep = sleep
        self._observation: LeaseObservation | None = None

    async def run(self) -> None:
        """Runs until cancelled. If the Lease may not be read, nothing is stale, and the next try is minutes later."""
        while True:
            pause = _POLL_SECONDS
            try:
                await self._observe()
            except ApiError as error:
                if error.is_forbidden:
                    _LOG.warning("whether an operator acts can't be told: %s", error)
                    self._observation, pause = None, _FORBIDDEN_SECONDS
                if error.is_not_found:
                    self._observation = LeaseObservation("", "", 0)
            self._board.set_stale(
                stale=self._observation is not None and not is_renewed(self._observation, self._monotonic())
            )
            await self._sleep(pause)

    async def _observe(self) -> None:
        lease = await self._api.get(self._path)
        holder, version = lease["spec"].get("holderIdentity") or "", lease["metadata"]["resourceVersion"]
        self._observation = observe(self._observation, version, holder, self._monotonic())
