"""The parts of the operator that all reconciliations share. Made by `app`, passed to each one by `manager`.

Holds references only: behaviour belongs to the parts.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.reconcile.event_recorder import EventRecorder
from model_provisioner.controller.stores.claim_watch import ClaimWatch
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.transfers.queues import Queues
from model_provisioner.controller.transfers.resolve_client import ResolveClient
from model_provisioner.controller.transfers.transfers import Transfers
from model_provisioner.domain.network.endpoints import Endpoints
from model_provisioner.kube.client import KubeApi


@dataclass(frozen=True, slots=True)
class Dependencies:
    """`endpoints` are the operator's own hub and the others that `spec.endpoint` may name.

    `ambient_buckets` are those that are read with the access key of the operator's own pod. `progress_interval` returns
    the seconds between two writes of an object's progress, `random` a number in 0..1. `now` returns the time in UTC.
    `claims` is None without worker pods.
    """

    api: KubeApi
    stores: StoreClient
    file_monitor: FileMonitor
    queues: Queues
    transfers: Transfers
    resolve_client: ResolveClient
    catalog: Catalog
    event_recorder: EventRecorder
    metrics: Metrics
    endpoints: Endpoints
    now: Callable[[], datetime]
    progress_interval: Callable[[], float]
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ambient_buckets: tuple[str, ...] = ()
    claims: ClaimWatch | None = None
