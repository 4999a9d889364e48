"""Builds the parts of the operator and runs them: servers, Lease, watches, reconciliations, kopf. Called by `command`.

It decides the order of the start; the end is in reverse order. The Lease is acquired before any object is read. If it
is lost, the process ends at once and its workers with it, because from then on another operator writes. What the parts
do is not decided here.
"""

import asyncio
import contextlib
import gc
import time
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import kopf
from prometheus_client import CollectorRegistry

from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.controller.metrics.metrics import Metrics
from model_provisioner.controller.parts import Base, Objects, longest_silence
from model_provisioner.controller.process import collectors, handlers
from model_provisioner.controller.process.ending import in_background
from model_provisioner.controller.process.fence import Fence
from model_provisioner.controller.process.health import Health, probes
from model_provisioner.controller.process.http import serve
from model_provisioner.controller.process.initial_objects import InitialObjects
from model_provisioner.controller.process.lease import Lease
from model_provisioner.controller.process.login import Login
from model_provisioner.controller.process.namespaces import exit_when_served, served_namespaces
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.controller.start_stores import start_stores
from model_provisioner.controller.stores.object_index import ObjectIndex, trim
from model_provisioner.controller.transfers.queue import Lanes, TransferQueue
from model_provisioner.controller.workers.pool import WorkerPool
from model_provisioner.domain.liveness import LeaseHolder, lease_terms
from model_provisioner.domain.scope import is_everywhere
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import watched_path
from model_provisioner.settings.common import own_namespace
from model_provisioner.settings.operator import OperatorSettings

if TYPE_CHECKING:
    from model_provisioner.controller.gates.gates import Gates
    from model_provisioner.controller.workers.pod_service import PodService

_START_SECONDS = 300.0
# With the default, half of the start with 10,000 objects is spent on garbage collections that find almost nothing.
_GC_THRESHOLD = (2_000, 20, 10)


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
        manager, pods = await start_stores(closing, settings, base, objects, epoch)
        if objects.gates:
            await in_background(closing, objects.gates.run())
        await _run_kopf(manager, pods, base, objects.namespaces)
    return 0


async def _start_servers(closing: contextlib.AsyncExitStack, settings: OperatorSettings, fence: Fence) -> Base:
    """Connects to the API server, and serves the probes and the metrics."""
    api = await KubeApi.connect(settings.kubeconfig)
    closing.push_async_callback(api.close)
    reflectors: list[Reflector] = []
    mounts = {Claim(mount.namespace, mount.claim): mount.directory for mount in settings.mounts}
    workers = WorkerPool(settings, mounts)
    queue = Lanes({lane: TransferQueue(slots) for lane, slots in workers.slots.items()})
    health = Health(lambda: longest_silence(reflectors), lambda: queue.stuck, time.monotonic)
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
    return Base(api, lease, mounts, workers, queue, health, metrics, reflectors)


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


async def _start_watches(closing: contextlib.AsyncExitStack, settings: OperatorSettings, base: Base) -> Objects:
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
    return Objects(namespaces, catalog, ObjectIndex(namespaces, base.reflectors), initial, gates)


def _gates(base: Base, namespaces: Sequence[str], settings: OperatorSettings, catalog: Catalog) -> "Gates":
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


async def _run_kopf(manager: Manager, pods: "PodService | None", base: Base, namespaces: Sequence[str]) -> None:
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


def _now() -> datetime:
    return datetime.now(UTC)


def _without_arguments(action: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """A handler that calls `action` without the keyword arguments that kopf passes."""

    async def handler(**_: Any) -> None:
        await action()

    return handler
