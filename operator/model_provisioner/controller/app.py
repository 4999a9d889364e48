"""Puts the operator together and runs it: Lease, workers, catalog, health, kopf.

The order matters: the Lease is ours before any object is looked at, and when it is lost, the process
ends at once and its workers with it, because from then on another operator writes.
"""

import asyncio
import contextlib
import gc
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import kopf
from prometheus_client import CollectorRegistry

from model_provisioner.aio.background import FAILED_EXIT_CODE, in_background
from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.process import collectors, handlers
from model_provisioner.controller.process.health import Health, probes
from model_provisioner.controller.process.http import listen
from model_provisioner.controller.process.lease import Lease, LeaseLost
from model_provisioner.controller.process.login import Login
from model_provisioner.controller.process.namespaces import exit_when_served, served_namespaces
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.event_recorder import EventRecorder
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.garbage_collector import GarbageCollector
from model_provisioner.controller.stores.object_index import ObjectIndex, trim
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.transfers.bandwidth import Bandwidth
from model_provisioner.controller.transfers.queue import TransferQueue
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.controller.transfers.resolve_client import ResolveClient
from model_provisioner.controller.transfers.shared_transfer import TransferServices
from model_provisioner.controller.transfers.transfers import Transfers
from model_provisioner.controller.workers.pool import WorkerPool
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import collection_path, parse
from model_provisioner.settings.common import own_namespace
from model_provisioner.settings.operator import OperatorSettings

_LOG = logging.getLogger(__name__)
_START_SECONDS = 300.0
_LEASE_LOST_EXIT_CODE = 3
# With the default, half of the start with 10,000 objects goes into looking for garbage among what lives.
_GC_THRESHOLD = (2_000, 20, 10)


async def run_operator(settings: OperatorSettings) -> int:
    """Runs until SIGTERM or SIGINT; returns the exit code."""
    gc.set_threshold(*_GC_THRESHOLD)
    async with contextlib.AsyncExitStack() as closing:
        api = await KubeApi.connect(settings.kubeconfig)
        closing.push_async_callback(api.close)
        watches: list[Reflector] = []  # none before the Lease is ours
        mounts = {Claim(mount.namespace, mount.claim): mount.directory for mount in settings.mounts}
        workers = WorkerPool(settings, mounts)
        queue = TransferQueue(workers.fetchers)
        heard_age = _longest(watches)
        health = Health(heard_age, lambda: queue.stuck, time.monotonic)
        if settings.health_listen:
            closing.push_async_callback((await listen(probes(health), settings.health_listen)).cleanup)

        lease_api = await KubeApi.connect(settings.kubeconfig)  # thousands of other requests may wait for a connection
        closing.push_async_callback(lease_api.close)
        metrics = Metrics(CollectorRegistry(), time.monotonic)
        collectors.show_process(metrics, lambda: health.acting, [api, lease_api])
        if settings.metrics_listen:
            closing.push_async_callback((await listen([metrics.route()], settings.metrics_listen)).cleanup)
        lease = _lease(lease_api, settings)
        epoch = await lease.acquire()
        closing.push_async_callback(lease.release)
        await _in_background(closing, lease.keep())

        namespaces = await served_namespaces(api, settings.namespaces)
        left_out = [one for one in settings.namespaces if one not in namespaces]
        await _in_background(closing, exit_when_served(api, left_out))
        watches += [Reflector(api, collection_path(namespace)) for namespace in namespaces]
        catalog = Catalog(api, namespaces)
        for watch in watches:
            watch.add_listener(health.on_event)
            watch.add_listener(catalog.on_event)
            await _in_background(closing, watch.run())
        await _take_in(watches, catalog, queue)
        await _in_background(closing, catalog.run())
        index = ObjectIndex(namespaces, watches)
        stores = StoreClient(mounts, workers.store_workers, index.store_ids, settings.modes)
        file_monitor = FileMonitor(stores)
        await _in_background(closing, file_monitor.run())
        usage_collector, reservations = VolumeUsageCollector(stores, index), Reservations()
        if settings.metrics_listen:
            await _in_background(closing, usage_collector.run())
        collectors.show_work(metrics, namespaces, queue, reservations, usage_collector, heard_age)
        services = TransferServices(
            queue, stores, Bandwidth(settings.max_bytes_per_second), reservations, RateLimits(), epoch, metrics
        )
        operator = Manager(_dependencies(settings, api, workers, file_monitor, catalog, services))
        closing.push_async_callback(workers.stop)
        garbage_collector = GarbageCollector(stores, index, lambda: operator.uids)
        await _in_background(closing, garbage_collector.run())
        await _run_kopf(operator, api, namespaces, workers, health)
    return 0


async def _take_in(watches: Sequence[Reflector], catalog: Catalog, queue: TransferQueue) -> None:
    """Catalog and queue know of every object before anybody acts; kept of them is what the index needs.

    Raises TimeoutError where that takes so long that it is better begun anew.
    """
    async with asyncio.timeout(_START_SECONDS):
        for watch in watches:
            await watch.synced.wait()
    known = [parse(document) for watch in watches for document in watch.objects()]
    catalog.seed(known)
    queue.hold_until_synced([one.uid for one in known if not (one.status.ready or one.deleting)])
    for watch in watches:
        watch.set_transform(trim)


def _lease(api: KubeApi, settings: OperatorSettings) -> Lease:
    namespace = settings.lease_namespace or own_namespace() or settings.mounts[0].namespace
    return Lease(api, namespace, settings.instance, _now, time.monotonic)


def _dependencies(
    settings: OperatorSettings,
    api: KubeApi,
    workers: WorkerPool,
    file_monitor: FileMonitor,
    catalog: Catalog,
    services: TransferServices,
) -> Dependencies:
    return Dependencies(
        api=api,
        stores=services.stores,
        file_monitor=file_monitor,
        queue=services.queue,
        transfers=Transfers(services),
        resolve_client=ResolveClient(workers.resolver, services.rate_limits),
        catalog=catalog,
        event_recorder=EventRecorder(api, settings.instance, _now),
        metrics=services.metrics,
        hub=settings.endpoint,
        policy=settings.policy,
        now=_now,
        progress_interval=lambda: max(1.0, services.queue.busy / 20),
    )


async def _run_kopf(
    operator: Manager, api: KubeApi, namespaces: Sequence[str], workers: WorkerPool, health: Health
) -> None:
    registry = kopf.OperatorRegistry()
    handlers.register(registry, operator, health, Login(api))
    kopf.on.startup(id="workers", registry=registry)(_without_arguments(workers.start))
    kopf.on.cleanup(id="workers", registry=registry)(_without_arguments(workers.stop))
    health.begin()
    await kopf.operator(registry=registry, namespaces=namespaces, standalone=True)


def _longest(watches: list[Reflector]) -> Callable[[], float]:
    """How long ago the API server was heard by the watch that has heard nothing for the longest time, in seconds."""
    return lambda: max((watch.last_event_age() for watch in watches), default=0.0)


def _now() -> datetime:
    return datetime.now(UTC)


async def _in_background(closing: contextlib.AsyncExitStack, work: Coroutine[Any, Any, None]) -> None:
    """Started before kopf, which at its end cancels what is younger than itself, and waits 5 s for it."""
    await in_background(closing, work, _exit)


def _exit(work: object, error: Exception) -> None:
    """Not a graceful exit: after the loss of the Lease, a status that is written now would be written by two."""
    if isinstance(error, LeaseLost):
        _LOG.critical("the Lease is lost (%s): exiting at once, the workers with us", error)
        os._exit(_LEASE_LOST_EXIT_CODE)
    else:
        _LOG.critical("%s has failed: exiting at once, the workers with us", work, exc_info=error)
        os._exit(FAILED_EXIT_CODE)


def _without_arguments(action: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """kopf passes its handlers more than `action` wants to know."""

    async def handler(**_: Any) -> None:
        await action()

    return handler
