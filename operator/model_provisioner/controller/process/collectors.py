"""Registers the metrics that are read from the parts of the operator at each scrape. Called by `app` at its start.

Metrics that count what happens are not here: the parts report those to `Metrics` when it happens.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from model_provisioner.controller.metrics import descriptions
from model_provisioner.controller.metrics.metrics import Metrics, Samples
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.transfers.queues import Queues
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.space import Usage
from model_provisioner.kube.client import KubeApi


def register_process(metrics: Metrics, acting: Callable[[], bool], apis: Sequence[KubeApi]) -> None:
    """Registers the metrics that an operator has also while it waits for the Lease.

    `acting` tells whether it holds the Lease, `apis` are all its clients.
    """
    metrics.register(descriptions.ACTING, lambda: _single(acting()))
    metrics.register(descriptions.API_REQUESTS, lambda: _requests(apis))


def register_work(
    metrics: Metrics,
    namespaces: Callable[[], Sequence[str]],
    queue: Queues,
    reservations: Reservations,
    usage_collector: VolumeUsageCollector,
    last_event_age: Callable[[], float],
) -> None:
    """Registers the metrics of the operator that holds the Lease: its watches, its queue, and its volumes.

    `namespaces` returns those that have a series, `last_event_age` the seconds since the watch that has been silent the
    longest received anything.
    """
    metrics.register(descriptions.LAST_WATCH_EVENT_AGE, lambda: _single(last_event_age()))
    metrics.register(descriptions.SLOTS, lambda: _single(queue.size))
    metrics.register(
        descriptions.ACTIVE, lambda: [((namespace,), queue.running(namespace)) for namespace in namespaces()]
    )
    metrics.register(
        descriptions.QUEUED, lambda: [((namespace,), queue.waiting(namespace)) for namespace in namespaces()]
    )
    metrics.register(
        descriptions.RESERVED,
        lambda: [(_labels(claim), reservations.reserved(claim)) for claim in usage_collector.claims],
    )
    metrics.register(descriptions.FREE, lambda: _volumes(usage_collector, lambda usage: usage.free))
    metrics.register(descriptions.UNHELD, lambda: _volumes(usage_collector, lambda usage: usage.unheld))


def _single(value: float) -> Samples:
    return [((), value)]


def _volumes(usage_collector: VolumeUsageCollector, value: Callable[[Usage], int | None]) -> Samples:
    """The value of each volume, except volumes for which it is None."""
    values = ((claim, value(usage)) for claim, usage in usage_collector.usages.items())
    return [(_labels(claim), found) for claim, found in values if found is not None]


def _labels(claim: Claim) -> tuple[str, str]:
    return claim.namespace, claim.name


def _requests(apis: Sequence[KubeApi]) -> Samples:
    answered = sum((api.answered for api in apis), Counter[tuple[str, int]]())
    return [((method, str(status)), count) for (method, status), count in answered.items()]
