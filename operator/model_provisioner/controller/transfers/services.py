"""What all transfers of one operator share. Made by `start_stores`, used by `transfers` and `shared_transfer`."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.transfers.bandwidth import Bandwidth
from model_provisioner.controller.transfers.copies import Copies
from model_provisioner.controller.transfers.queues import Queues
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.controller.transfers.resolve_client import ResolveClient


@dataclass(frozen=True, slots=True)
class TransferServices:
    """`epoch` is `leaseTransitions` of the Lease, which the journals of parts record to fence an older writer.

    `copies` is None if worker pods copy nothing. `monotonic` is in seconds.
    """

    queues: Queues
    stores: StoreClient
    bandwidth: Bandwidth
    reservations: Reservations
    rate_limits: RateLimits
    resolve_client: ResolveClient
    epoch: int
    metrics: Metrics
    copies: Copies | None = None
    monotonic: Callable[[], float] = time.monotonic
