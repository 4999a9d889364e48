"""What the steps of the operator's start pass to each other. Made by `app`, used by `app` and `start_stores`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.process.health import Health
from model_provisioner.controller.process.initial_objects import InitialObjects
from model_provisioner.controller.process.lease import Lease
from model_provisioner.controller.stores.object_index import ObjectIndex
from model_provisioner.controller.transfers.queue import Lanes
from model_provisioner.controller.workers.pool import WorkerPool
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector

if TYPE_CHECKING:
    from model_provisioner.controller.gates.gates import Gates


@dataclass(frozen=True, slots=True)
class Base:
    """The parts that exist also while the operator waits for the Lease.

    The Lease has a client of its own: thousands of other requests may wait for a connection of `api`.
    `reflectors` has one per served namespace, or one for all; it is empty until we hold the Lease.
    """

    api: KubeApi
    lease: Lease
    mounts: Mapping[Claim, Path]
    workers: WorkerPool
    queue: Lanes
    health: Health
    metrics: Metrics
    reflectors: list[Reflector]


@dataclass(frozen=True, slots=True)
class Objects:
    """What is known of the objects in the served `namespaces`. `initial` is empty when the stores are started.

    `gates` is None unless the operator looks after gated pods.
    """

    namespaces: Sequence[str]
    catalog: Catalog
    index: ObjectIndex
    initial: InitialObjects
    gates: "Gates | None"


def longest_silence(reflectors: Sequence[Reflector]) -> float:
    """Seconds since the reflector that has been silent the longest received anything; 0 without reflectors."""
    return max((reflector.last_event_age() for reflector in reflectors), default=0.0)
