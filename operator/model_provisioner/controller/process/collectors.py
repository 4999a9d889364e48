"""What is read from the parts of the operator whenever somebody scrapes. Called once by `app`; decides nothing."""

from collections import Counter
from collections.abc import Callable, Sequence

from model_provisioner.controller.metrics import descriptions
from model_provisioner.controller.metrics.metrics import Metrics, Samples
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.transfers.queue import TransferQueue
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.space import Usage
from model_provisioner.kube.client import KubeApi


def show_process(metrics: Metrics, acting: Callable[[], bool], apis: Sequence[KubeApi]) -> None:
    """What there is also of an operator that waits for the Lease."""
    metrics.register(descriptions.ACTING, lambda: _alone(acting()))
    metrics.register(descriptions.API_REQUESTS, lambda: _requests(apis))


def show_work(
    metrics: Metrics,
    namespaces: Sequence[str],
    queue: TransferQueue,
    reservations: Reservations,
    usage_collector: VolumeUsageCollector,
    heard_age: Callable[[], float],
) -> None:
    """What there is of the operator that acts: its watches, its queue, and its volumes."""
    metrics.register(descriptions.LAST_WATCH_EVENT_AGE, lambda: _alone(heard_age()))
    metrics.register(descriptions.SLOTS, lambda: _alone(queue.size))
    metrics.register(
        descriptions.ACTIVE, lambda: [((namespace,), queue.running(namespace)) for namespace in namespaces]
    )
    metrics.register(
        descriptions.QUEUED, lambda: [((namespace,), queue.waiting(namespace)) for namespace in namespaces]
    )
    metrics.register(
        descriptions.RESERVED,
        lambda: [(_labels(claim), reservations.reserved(claim)) for claim in usage_collector.claims],
    )
    metrics.register(descriptions.FREE, lambda: _volumes(usage_collector, lambda usage: usage.free))
    metrics.register(descriptions.UNHELD, lambda: _volumes(usage_collector, lambda usage: usage.unheld))


def _alone(value: float) -> Samples:
    return [((), value)]


def _volumes(usage_collector: VolumeUsageCollector, figure: Callable[[Usage], int]) -> Samples:
    return [(_labels(claim), figure(usage)) for claim, usage in usage_collector.usages.items()]


def _labels(claim: Claim) -> tuple[str, str]:
    return claim.namespace, claim.name


def _requests(apis: Sequence[KubeApi]) -> Samples:
    answered = sum((api.answered for api in apis), Counter[tuple[str, int]]())
    return [((method, str(status)), count) for (method, status), count in answered.items()]
