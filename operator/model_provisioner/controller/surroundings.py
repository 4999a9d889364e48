"""What the lifecycles of one operator share. Made by `app`, handed to each by `operator`."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from model_provisioner.controller.announcer import Announcer
from model_provisioner.controller.catalog import Catalog
from model_provisioner.controller.hubs import Hubs
from model_provisioner.controller.metrics import Metrics
from model_provisioner.controller.patrol import Patrol
from model_provisioner.controller.slots import Slots
from model_provisioner.controller.stores import Stores
from model_provisioner.controller.transfers import Transfers
from model_provisioner.domain.addresses import NetworkPolicy
from model_provisioner.kube.client import KubeApi


@dataclass(frozen=True, slots=True)
class Surroundings:
    """`hub` is the default endpoint, `policy` says which others `spec.endpoint` may name."""

    api: KubeApi
    stores: Stores
    patrol: Patrol
    slots: Slots
    transfers: Transfers
    hubs: Hubs
    catalog: Catalog
    announcer: Announcer
    metrics: Metrics
    hub: str
    policy: NetworkPolicy
    now: Callable[[], datetime]
    progress_interval: Callable[[], float]
    random: Callable[[], float] = random.random
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
