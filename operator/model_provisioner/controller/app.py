"""Builds the parts of the operator and runs them: servers, Lease, watches, reconciliations, kopf. Called by `command`.

It decides the order of the start; the end is in reverse order. The Lease is acquired before any object is read. If it
is lost, the process ends at once and its workers with it, because from then on another operator writes. What the parts
do is not decided here.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kopf
from prometheus_client import CollectorRegistry

from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.process import collectors, handlers
from model_provisioner.controller.process.ending import in_background
from model_provisioner.controller.process.fence import Fence
from model_provisioner.controller.process.health import Health, probes
from model_provisioner.controller.process.http import serve
from model_provisioner.controller.process.initial_objects import Found, InitialObjects
from model_provisioner.controller.process.lease import Lease
from model_provisioner.controller.process.login import Login
from model_provisioner.controller.process.namespaces import exit_when_served, served_namespaces
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.event_recorder import EventRecorder
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.controller.stores.confirmed_objects import unconfirmed_uids
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.garbage_collector import GarbageCollector
from model_provisioner.controller.stores.object_index import ObjectIndex, trim
from model_provisioner.controller.stores.ollama_views import OllamaViews
from model_provisioner.controller.stores.record_keeper import RecordKeeper
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.transfers.bandwidth import Bandwidth
from model_provisioner.controller.transfers.queue import Lanes, TransferQueue
from model_provisioner.controller.transfers.queues import Queues
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.controller.transfers.resolve_client import ResolveClient
from model_provisioner.controller.transfers.shared_transfer import TransferServices
from model_provisioner.controller.transfers.transfers import Transfers
from model_provisioner.controller.workers.pool import WorkerPool
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.domain.lifecycle.settled import is_settled
from model_provisioner.domain.liveness import LeaseHolder, lease_terms
from model_provisioner.domain.scope import is_everywhere
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import watched_path
from model_provisioner.settings.common import own_namespace
from model_provisioner.settings.operator import OLLAMA, OperatorSettings

if TYPE_CHECKING:
    from model_provisioner.controller.gates.gates import Gates
    from model_provisioner.controller.workers.pod_service import PodService

_START_SECONDS = 300.0
# With the default, half of the start with 10,000 objects is spent on garbage collections that find almost nothing.
_GC_THRESHOLD = (2_000, 20, 10)


@dataclass(frozen=True, slots=True)
class _Base:
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
class _Objects:
    """What is known of the objects in the served `namespaces`. `initial` is empty when the stores are started.

    `gates` is None unless the operator looks after gated pods.
    """

    namespaces: Sequence[str]
    catalog: Catalog
    index: ObjectIndex
    initial: InitialObjects
    gates: "Gates | None"


async def run_operator(settings: OperatorSettings, fence: Fence) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code. `fence` is that of the event loop.

    Raises ApiError if the API server refuses the Lease or every namespace, ListenError if a port cannot be opened, and
    TimeoutError if the first lists do not arrive.
    """
    gc.set_threshold(*_GC_THRESHOLD)
    async with contextlib.AsyncExitStack() as closing:
        base = await _start_servers(closing, settings, fence)
        epoch = await _acquire_lease(closing, base.lease)
        objects = await _start_watches(closing, settings, base)
        manager, pods = await _start_stores(closing, settings, base, objects, epoch)
        if objects.gates:
            await in_background(closing, objects.gates.run())
        await _run_kopf(manager, pods, base, objects.namespaces)
    return 0


async def _start_servers(closing: contextlib.AsyncExitStack, settings: OperatorSettings, fence: Fence) -> _Base:
    """Connects to the API server, and serves the probes and the metrics."""
    api = await KubeApi.connect(settings.kubeconfig)
    closing.push_async_callback(api.close)
    reflectors: list[Reflector] = []
    mounts = {Claim(mount.namespace, mount.claim): mount.directory for mount in settings.mounts}
    workers = WorkerPool(settings, mounts)
    queue = Lanes({lane: TransferQueue(slots) for lane, slots in workers.slots.items()})
    health = Health(lambda: _longest_silence(reflectors), lambda: queue.stuck, time.monotonic)
    lease_api = await KubeApi.connect(settings.kubeconfig)
    closing.push_async_callback(lease_api.close)
    lease = _lease(settings, lease_api, fence)
    if settings.health_listen:
        is_standby = lease.is_followed if settings.replicas > 1 else lambda: False
        closing.push_async_callback(
            (await serve(probes(health, is_standby), settings.health_listen, "--health-listen")).close
        )

    metrics = Metrics(CollectorRegistry(), time.monotonic)
    collectors.register_process(metrics, lambda: health.acting, [api, lease_api])
    if settings.metrics_listen:
        closing.push_async_callback((await serve([metrics.route()], settings.metrics_listen, "--metrics-listen")).close)
    return _Base(api, lease, mounts, workers, queue, health, metrics, reflectors)


def _lease(settings: OperatorSettings, api: KubeApi, fence: Fence) -> Lease:
    namespace, terms = settings.operator_namespace, lease_terms(settings.replicas)
    identity = _identity(settings, namespace)
    return Lease(api, namespace, identity, _now, time.monotonic, terms=terms, on_term=fence.close_at)


async def _acquire_lease(closing: contextlib.AsyncExitStack, lease: Lease) -> int:
    """Waits for the Lease, renews it in the background, and gives it up at the end. Returns its epoch."""
    epoch = await lease.acquire()
    closing.push_async_callback(lease.release)
    await in_background(closing, lease.renew())
    return epoch


def _identity(settings: OperatorSettings, lease_namespace: str) -> LeaseHolder:
    """Names this process in the Lease, without a uid if this pod is in another namespace than the Lease.

    Other operators look for the pod in the Lease's namespace, so that such a pod would seem to be gone.
    """
    is_beside = own_namespace() in {None, lease_namespace}
    return LeaseHolder(settings.instance, settings.pod_uid if is_beside else None)


async def _start_watches(closing: contextlib.AsyncExitStack, settings: OperatorSettings, base: _Base) -> _Objects:
    """Watches every namespace that can be served. Returns when the queue knows every object."""
    namespaces = await served_namespaces(base.api, settings.namespaces)
    left_out = [namespace for namespace in settings.namespaces if namespace not in namespaces]
    await in_background(closing, exit_when_served(base.api, left_out))
    base.reflectors.extend(Reflector(base.api, watched_path(namespace)) for namespace in namespaces)
    catalog = Catalog(base.api, namespaces, engines=settings.engines, mount_path=settings.mount_path)
    initial = InitialObjects()
    gates = _gates(base, namespaces, settings, catalog) if settings.gates else None
    for reflector in base.reflectors:
        reflector.set_transform(trim)
        reflector.add_listener(base.health.on_event)
        reflector.add_listener(catalog.on_event)
        reflector.add_listener(initial.on_event)
        if gates:
            reflector.add_listener(gates.on_model)
        await in_background(closing, reflector.run())
    await _load_objects(base.reflectors, initial, base.queue)
    return _Objects(namespaces, catalog, ObjectIndex(namespaces, base.reflectors), initial, gates)


def _gates(base: _Base, namespaces: Sequence[str], settings: OperatorSettings, catalog: Catalog) -> "Gates":
    from model_provisioner.controller.gates.gates import Gates, Site  # noqa: PLC0415 - most operators have none

    return Gates(base.api, namespaces, settings, Site(base.mounts, catalog.holds, _now))


async def _load_objects(reflectors: Sequence[Reflector], initial: InitialObjects, queue: Lanes) -> None:
    """Passes every object to the queue before anything acts.

    Raises TimeoutError if the first lists take so long that a new start is better.
    """
    async with asyncio.timeout(_START_SECONDS):
        for reflector in reflectors:
            await reflector.synced.wait()
    known = initial.downloads
    queue.hold_until_synced([download.uid for download in known if not (download.status.ready or download.deleting)])


async def _start_catalog(closing: contextlib.AsyncExitStack, objects: _Objects, stores: StoreClient) -> list[Found]:
    """Passes every Ready object that its volume confirms to the catalog, before anything acts and before it is written.

    Returns those that have not changed meanwhile.
    """
    asked = {download.uid: download for download in objects.initial.downloads}
    unconfirmed = await unconfirmed_uids(stores, asked.values())
    confirmed = asked.keys() - unconfirmed
    present = [one for one in objects.initial.take() if one.download.uid in confirmed]
    objects.catalog.seed([asked[one.download.uid] for one in present])
    await in_background(closing, objects.catalog.run())
    return [one for one in present if one.download is asked[one.download.uid]]


def _add_settled(manager: Manager, stores: StoreClient, confirmed: Iterable[Found]) -> None:
    """Nothing is started for a settled object, except for one that no mounted volume has."""
    for found in confirmed:
        with contextlib.suppress(ClaimNotMounted):
            stores.claim_of(found.download)
            if is_settled(found.download, _now()):
                manager.add_settled(found.download, found.document)


async def _start_stores(
    closing: contextlib.AsyncExitStack, settings: OperatorSettings, base: _Base, objects: _Objects, epoch: int
) -> "tuple[Manager, PodService | None]":
    """Starts the catalog and what looks after the stores: views, file monitor, usage, record keeper, garbage collector.

    Returns the manager that uses them, and the service of worker pods if they are on.

    The workers, which the first request or kopf's startup handler starts, are stopped at the end.
    """
    closing.push_async_callback(base.workers.stop)
    await in_background(closing, base.workers.run())
    for reflector in base.reflectors:
        reflector.add_listener(base.workers.on_event)
    pods = await _start_pods(closing, settings, base.api, objects.namespaces, epoch) if settings.worker_listen else None
    pool = pods.pool if pods else None
    stores = StoreClient(base.mounts, base.workers.store_workers, objects.index.store_ids, settings.modes, pool)
    views = OllamaViews(stores, enabled=OLLAMA in settings.view)
    objects.catalog.add_listener(views)
    queues = Queues(base.queue, base.mounts, pool.worker if pool else None)
    confirmed = await _start_catalog(closing, objects, stores)
    await in_background(closing, views.run())
    file_monitor = FileMonitor(stores)
    usage_collector, reservations = VolumeUsageCollector(stores, objects.index), Reservations()
    if settings.metrics_listen:
        await in_background(closing, usage_collector.run())
    collectors.register_work(
        base.metrics,
        objects.index.served,
        queues,
        reservations,
        usage_collector,
        lambda: _longest_silence(base.reflectors),
    )
    rate_limits = RateLimits()
    services = TransferServices(
        queues,
        stores,
        Bandwidth(settings.max_bytes_per_second),
        reservations,
        rate_limits,
        ResolveClient(base.workers.resolver, rate_limits, settings.response_timeout),
        epoch,
        base.metrics,
    )
    manager = Manager(_dependencies(settings, base, file_monitor, objects.catalog, services))
    _add_settled(manager, stores, confirmed)
    for reflector in base.reflectors:  # kopf is not told of an object that is deleted before its first list
        reflector.add_listener(lambda kind, document: _forget_deleted(manager, kind, document))
    await in_background(closing, file_monitor.run())
    await in_background(closing, RecordKeeper(stores, objects.index, file_monitor.notify_paths).run())
    garbage_collector = GarbageCollector(stores, objects.index, lambda: manager.uids)
    await in_background(closing, garbage_collector.run())
    if pods:
        pods.pool.on_ready = garbage_collector.sweep_soon
        await in_background(closing, pods.run())
    return manager, pods


async def _start_pods(
    closing: contextlib.AsyncExitStack, settings: OperatorSettings, api: KubeApi, namespaces: Sequence[str], epoch: int
) -> "PodService":
    """Opens the door for worker pods. Pods of the operator before connect from now on, and are not started anew."""
    from model_provisioner.controller.workers.pod_service import PodService  # noqa: PLC0415 -- most operators have none

    service = PodService.of(settings, api, settings.operator_namespace, epoch, _now)
    await service.start(closing, namespaces)
    return service


def _forget_deleted(manager: Manager, kind: str, document: Mapping[str, Any]) -> None:
    if kind == "DELETED":
        manager.forget_settled(document["metadata"]["uid"])


def _dependencies(
    settings: OperatorSettings, base: _Base, file_monitor: FileMonitor, catalog: Catalog, services: TransferServices
) -> Dependencies:
    return Dependencies(
        api=base.api,
        stores=services.stores,
        file_monitor=file_monitor,
        queues=services.queues,
        transfers=Transfers(services),
        resolve_client=services.resolve_client,
        catalog=catalog,
        event_recorder=EventRecorder(base.api, settings.instance, _now),
        metrics=services.metrics,
        endpoints=settings.endpoints,
        ambient_buckets=tuple(settings.ambient_credentials),
        now=_now,
        progress_interval=lambda: max(1.0, services.queues.busy / 20),
    )


async def _run_kopf(manager: Manager, pods: "PodService | None", base: _Base, namespaces: Sequence[str]) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, manager, base.health, Login(base.api))
    kopf.on.startup(id="workers", registry=registry)(_without_arguments(base.workers.start))
    kopf.on.cleanup(id="workers", registry=registry)(_without_arguments(lambda: _stop(manager, pods, base.workers)))
    base.health.begin()
    everywhere = is_everywhere(namespaces)
    await kopf.operator(
        registry=registry, clusterwide=everywhere, namespaces=() if everywhere else namespaces, standalone=True
    )


async def _stop(manager: Manager, pods: "PodService | None", workers: WorkerPool) -> None:
    """Ends what has been started while kopf ran: kopf waits for every task that is younger than itself."""
    await manager.stop()
    if pods:
        await pods.stop()
    await workers.stop()


def _longest_silence(reflectors: Sequence[Reflector]) -> float:
    """Seconds since the reflector that has been silent the longest received anything; 0 without reflectors."""
    return max((reflector.last_event_age() for reflector in reflectors), default=0.0)


def _now() -> datetime:
    return datetime.now(UTC)


def _without_arguments(action: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """A handler that calls `action` without the keyword arguments that kopf passes."""

    async def handler(**_: Any) -> None:
        await action()

    return handler
