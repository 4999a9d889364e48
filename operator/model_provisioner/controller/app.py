"""Puts the operator together and runs it: Lease, workers, catalog, health, kopf.

The order matters: the Lease is ours before any object is looked at, and when it is lost, the process
ends at once and its workers with it, because from then on another operator writes.
"""

import asyncio
import contextlib
import gc
import itertools
import logging
import os
import sys
import time
from collections.abc import Callable, Collection, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

import kopf
from prometheus_client import CollectorRegistry

from model_provisioner.aio.background import exit_on_failure, in_background
from model_provisioner.controller import gauges, handlers
from model_provisioner.controller.announcer import Announcer
from model_provisioner.controller.bandwidth import Bandwidth
from model_provisioner.controller.catalog import Catalog
from model_provisioner.controller.census import Census, gist
from model_provisioner.controller.health import Health, probes
from model_provisioner.controller.holdback import HoldBack
from model_provisioner.controller.hubs import Hubs
from model_provisioner.controller.lease import Lease, LeaseLost
from model_provisioner.controller.listening import listen
from model_provisioner.controller.login import Login
from model_provisioner.controller.metrics import Metrics
from model_provisioner.controller.operator import Operator
from model_provisioner.controller.patrol import Patrol
from model_provisioner.controller.reach import end_when_reachable, reachable
from model_provisioner.controller.reservations import Reservations
from model_provisioner.controller.sharing import TransferServices
from model_provisioner.controller.slots import Slots
from model_provisioner.controller.stores import Claim, Stores
from model_provisioner.controller.surroundings import Surroundings
from model_provisioner.controller.surveyor import Surveyor
from model_provisioner.controller.sweeper import Sweeper
from model_provisioner.controller.transfers import Transfers
from model_provisioner.controller.workers import WorkerProcess
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import collection_path, parse
from model_provisioner.settings import OperatorSettings, own_namespace

_LOG = logging.getLogger(__name__)
_START_SECONDS = 300.0
_MOST_KEEPERS = 4  # a process takes half a second to start, and some 40 MiB
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
        workers = Workers(settings, mounts)
        slots = Slots(workers.fetchers)
        heard_age = _longest(watches)
        health = Health(heard_age, lambda: slots.stuck, time.monotonic)
        if settings.health_listen:
            closing.push_async_callback((await listen(probes(health), settings.health_listen)).cleanup)

        lease_api = await KubeApi.connect(settings.kubeconfig)  # thousands of other requests may wait for a connection
        closing.push_async_callback(lease_api.close)
        metrics = Metrics(CollectorRegistry(), time.monotonic)
        gauges.show_process(metrics, lambda: health.acting, [api, lease_api])
        if settings.metrics_listen:
            closing.push_async_callback((await listen([metrics.route()], settings.metrics_listen)).cleanup)
        lease = _lease(lease_api, settings)
        epoch = await lease.acquire()
        closing.push_async_callback(lease.release)
        await _in_background(closing, lease.keep())

        namespaces = await reachable(api, settings.namespaces)
        left_out = [one for one in settings.namespaces if one not in namespaces]
        await _in_background(closing, end_when_reachable(api, left_out))
        watches += [Reflector(api, collection_path(namespace)) for namespace in namespaces]
        catalog = Catalog(api, namespaces)
        for watch in watches:
            watch.listen(health.heard)
            watch.listen(catalog.heard)
            await _in_background(closing, watch.run())
        await _take_in(watches, catalog, slots)
        await _in_background(closing, catalog.run())
        census = Census(namespaces, watches)
        stores = Stores(mounts, workers.keepers, census.store_ids, settings.modes)
        patrol = Patrol(stores)
        await _in_background(closing, patrol.run())
        surveyor, reservations = Surveyor(stores, census), Reservations()
        if settings.metrics_listen:
            await _in_background(closing, surveyor.run())
        gauges.show_work(metrics, namespaces, slots, reservations, surveyor, heard_age)
        services = TransferServices(
            slots, stores, Bandwidth(settings.max_bytes_per_second), reservations, HoldBack(), epoch, metrics
        )
        operator = Operator(_surroundings(settings, api, workers, patrol, catalog, services))
        closing.push_async_callback(workers.stop)
        sweeper = Sweeper(stores, census, lambda: operator.uids)
        await _in_background(closing, sweeper.run())
        await _run_kopf(operator, api, namespaces, workers, health)
    return 0


async def _take_in(watches: Sequence[Reflector], catalog: Catalog, slots: Slots) -> None:
    """Catalog and queue know of every object before anybody acts; kept of them is what the census needs.

    Raises TimeoutError where that takes so long that it is better begun anew.
    """
    async with asyncio.timeout(_START_SECONDS):
        for watch in watches:
            await watch.synced.wait()
    known = [parse(document) for watch in watches for document in watch.objects()]
    catalog.seed(known)
    slots.muster([one.uid for one in known if not (one.status.ready or one.deleting)])
    for watch in watches:
        watch.keep(gist)


class Workers:
    """The processes of one operator: one fetcher per slot, keepers of records, the resolver.

    Each claim has a keeper of its own as long as they are few; of more, each is the keeper of several.
    """

    def __init__(self, settings: OperatorSettings, claims: Collection[Claim]) -> None:
        command = _worker_command(settings)
        self.fetchers = [WorkerProcess(command) for _ in range(settings.slots)]
        self._keepers = [WorkerProcess(command) for _ in range(min(len(claims), _MOST_KEEPERS))]
        self.keepers = dict(zip(claims, itertools.cycle(self._keepers), strict=False))
        self.resolver = WorkerProcess([*command, "--resolver"])

    async def start(self) -> None:
        """Warm them up, so that the first model does not wait for an interpreter to start."""
        await asyncio.gather(*(worker.start() for worker in self._all))

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._all))

    @property
    def _all(self) -> list[WorkerProcess]:
        return [*self.fetchers, *self._keepers, self.resolver]


def _worker_command(settings: OperatorSettings) -> list[str]:
    """What sources may be reached is a setting of the process; secrets come in requests, never here."""
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", "--worker", "--endpoint", settings.endpoint]
    for network in settings.allow_network:
        command += ["--allow-network", network]
    for host in settings.allow_host:
        command += ["--allow-host", host]
    if settings.ca_file:
        command += ["--ca-file", str(settings.ca_file)]
    if settings.proxy:
        command += ["--proxy", settings.proxy]
    return command


def _lease(api: KubeApi, settings: OperatorSettings) -> Lease:
    namespace = settings.lease_namespace or own_namespace() or settings.mounts[0].namespace
    return Lease(api, namespace, settings.instance, _now, time.monotonic)


def _surroundings(
    settings: OperatorSettings,
    api: KubeApi,
    workers: Workers,
    patrol: Patrol,
    catalog: Catalog,
    services: TransferServices,
) -> Surroundings:
    return Surroundings(
        api=api,
        stores=services.stores,
        patrol=patrol,
        slots=services.slots,
        transfers=Transfers(services),
        hubs=Hubs(workers.resolver, services.holdback),
        catalog=catalog,
        announcer=Announcer(api, settings.instance, _now),
        metrics=services.metrics,
        hub=settings.endpoint,
        policy=settings.policy,
        now=_now,
        progress_interval=lambda: max(1.0, services.slots.busy / 20),
    )


async def _run_kopf(
    operator: Operator, api: KubeApi, namespaces: Sequence[str], workers: Workers, health: Health
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
    exit_on_failure(work, error)


def _without_arguments(action: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    """kopf passes its handlers more than `action` wants to know."""

    async def handler(**_: Any) -> None:
        await action()

    return handler
