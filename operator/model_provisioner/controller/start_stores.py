"""Starts what looks after the stores, and puts together what reconciliations use. Called by `app`.

Catalog, views, file monitor, usage, record keeper, garbage collector, worker pods. What they do is not decided here.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.controller.catalog.listed_before import listed_before
from model_provisioner.controller.parts import Base, Objects, longest_silence
from model_provisioner.controller.process import collectors
from model_provisioner.controller.process.ending import in_background
from model_provisioner.controller.process.initial_objects import Found
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.event_recorder import EventRecorder
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.controller.stores.claim_watch import ClaimWatch
from model_provisioner.controller.stores.confirmed_objects import unconfirmed_uids
from model_provisioner.controller.stores.file_monitor import FileMonitor
from model_provisioner.controller.stores.garbage_collector import GarbageCollector
from model_provisioner.controller.stores.object_index import ObjectIndex, PublishedCopy
from model_provisioner.controller.stores.ollama_views import OllamaViews
from model_provisioner.controller.stores.pod_visits import PodVisits
from model_provisioner.controller.stores.record_keeper import RecordKeeper
from model_provisioner.controller.stores.store_client import StoreClient
from model_provisioner.controller.stores.usage import VolumeUsageCollector
from model_provisioner.controller.transfers.bandwidth import Bandwidth
from model_provisioner.controller.transfers.copies import Copies
from model_provisioner.controller.transfers.queues import Queues
from model_provisioner.controller.transfers.rate_limits import RateLimits
from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.controller.transfers.resolve_client import ResolveClient
from model_provisioner.controller.transfers.services import TransferServices
from model_provisioner.controller.transfers.transfers import Transfers
from model_provisioner.domain.errors import ClaimNotMounted
from model_provisioner.domain.lifecycle.settled import is_settled
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.kube.client import KubeApi
from model_provisioner.settings.operator import OLLAMA, OperatorSettings

if TYPE_CHECKING:
    from model_provisioner.controller.workers.pod_service import PodService


async def start_stores(
    closing: contextlib.AsyncExitStack, settings: OperatorSettings, base: Base, objects: Objects, epoch: int
) -> "tuple[Manager, PodService | None]":
    """Starts all of it until `closing`. Returns the manager that uses it, and the service of worker pods, if on.

    The workers, which the first request or kopf's startup handler starts, are stopped at the end.
    """
    pods = await _start_workers(closing, settings, base, objects.namespaces, epoch)
    pool = pods.pool if pods else None
    stores = StoreClient(base.mounts, base.workers.store_workers, objects.index.store_ids, settings.modes, pool)
    views = OllamaViews(stores, enabled=OLLAMA in settings.view)
    objects.catalog.add_listener(views)
    confirmed, unproven = await _start_catalog(closing, base.api, objects, stores)
    await in_background(closing, views.run())
    passive = stores.without_starting_pods()
    file_monitor = FileMonitor(passive)
    services = _services(settings, base, objects.index, stores, pods, epoch)
    usage = await _start_usage(closing, settings, base, objects, services)
    claims = ClaimWatch(base.api, objects.namespaces, file_monitor) if pods else None
    manager = Manager(_dependencies(settings, base, file_monitor, objects.catalog, services, claims))
    _add_settled(manager, stores, confirmed)
    for reflector in base.reflectors:  # kopf is not told of an object that is deleted before its first list
        reflector.add_listener(lambda kind, document: _forget_deleted(manager, kind, document))
    await in_background(closing, file_monitor.run())
    record_keeper = RecordKeeper(
        passive,
        objects.index,
        file_monitor.notify_paths,
        unproven=unproven,
        unlist=lambda holder: objects.catalog.drop_uid(holder.namespace, holder.name, holder.uid),
    )
    await in_background(closing, record_keeper.run())
    garbage_collector = GarbageCollector(passive, objects.index, lambda: manager.uids)
    await in_background(closing, garbage_collector.run())
    if pods and claims:
        await in_background(closing, claims.run())
        steps = [record_keeper.visit, file_monitor.look, garbage_collector.visit]
        visits = PodVisits(passive, [*steps, usage.visit] if settings.metrics_listen else steps)
        pods.pool.on_ready = visits.begin
        await in_background(closing, manager.check_times.run())
        await in_background(closing, visits.run())
        await in_background(closing, pods.run())
    return manager, pods


async def _start_workers(
    closing: contextlib.AsyncExitStack, settings: OperatorSettings, base: Base, namespaces: Sequence[str], epoch: int
) -> "PodService | None":
    closing.push_async_callback(base.workers.stop)
    await in_background(closing, base.workers.run())
    for reflector in base.reflectors:
        reflector.add_listener(base.workers.on_event)
    return await _start_pods(closing, settings, base, namespaces, epoch) if settings.worker_listen else None


async def _start_pods(
    closing: contextlib.AsyncExitStack, settings: OperatorSettings, base: Base, namespaces: Sequence[str], epoch: int
) -> "PodService":
    """Opens the door for worker pods. Pods of the operator before connect from now on, and are not started anew."""
    from model_provisioner.controller.workers.pod_service import PodService  # noqa: PLC0415 -- most operators have none

    service = PodService.of(settings, base.api, settings.operator_namespace, epoch, _now, base.workers.senders)
    await service.start(closing, namespaces)
    return service


async def _start_catalog(
    closing: contextlib.AsyncExitStack, api: KubeApi, objects: Objects, stores: StoreClient
) -> tuple[list[Found], frozenset[str]]:
    """Passes every Ready object that its volume confirms to the catalog, before anything acts and before it is written.

    One on a claim of worker pods stays if it was listed before. Returns those that have not changed meanwhile, and the
    uids of those that no volume has confirmed.
    """
    asked = {download.uid: download for download in objects.initial.downloads}
    unconfirmed = await unconfirmed_uids(stores, asked.values())
    in_pods = [one for one in asked.values() if _is_in_pods(one, stores)]
    listed = await listed_before(api, in_pods)
    confirmed = asked.keys() - unconfirmed - ({download.uid for download in in_pods} - listed)
    present = [one for one in objects.initial.take() if one.download.uid in confirmed]
    objects.catalog.seed([asked[one.download.uid] for one in present])
    await in_background(closing, objects.catalog.run())
    return [one for one in present if one.download is asked[one.download.uid]], listed


def _is_in_pods(download: ModelDownload, stores: StoreClient) -> bool:
    """Whether the object is Ready, by its status, on a claim that worker pods serve."""
    model = download.status.model
    return (
        download.status.ready and model is not None and stores.is_for_pods(Claim(download.namespace, model.claim_name))
    )


def _add_settled(manager: Manager, stores: StoreClient, confirmed: Iterable[Found]) -> None:
    """Nothing is started for a settled object, except for one that no mounted volume has."""
    for found in confirmed:
        with contextlib.suppress(ClaimNotMounted):
            stores.claim_of(found.download)
            if is_settled(found.download, _now()):
                manager.add_settled(found.download, found.document)


def _services(
    settings: OperatorSettings,
    base: Base,
    index: ObjectIndex,
    stores: StoreClient,
    pods: "PodService | None",
    epoch: int,
) -> TransferServices:
    rate_limits = RateLimits()
    resolve_client = ResolveClient(base.workers.resolver, rate_limits, settings.response_timeout)
    copies = None
    if pods and pods.reader:

        def find(file: PlannedFile) -> list[PublishedCopy]:
            return index.copies(base.mounts, str(file.digest), file.path)

        copies = Copies(find, pods.reader.confirms, resolve_client.prove_access, pods.grants)
    return TransferServices(
        Queues(base.queue, base.mounts, pods.pool.worker if pods else None),
        stores,
        Bandwidth(settings.max_bytes_per_second),
        Reservations(),
        rate_limits,
        resolve_client,
        epoch,
        base.metrics,
        copies,
    )


async def _start_usage(
    closing: contextlib.AsyncExitStack,
    settings: OperatorSettings,
    base: Base,
    objects: Objects,
    services: TransferServices,
) -> VolumeUsageCollector:
    """Measures the volumes if there are metrics, and registers the metrics of objects, queues and volumes."""
    usage_collector = VolumeUsageCollector(services.stores.without_starting_pods(), objects.index)
    if settings.metrics_listen:
        await in_background(closing, usage_collector.run())
    collectors.register_work(
        base.metrics,
        objects.index.served,
        services.queues,
        services.reservations,
        usage_collector,
        lambda: longest_silence(base.reflectors),
    )
    return usage_collector


def _forget_deleted(manager: Manager, kind: str, document: Mapping[str, Any]) -> None:
    if kind == "DELETED":
        manager.forget_settled(document["metadata"]["uid"])


def _dependencies(
    settings: OperatorSettings,
    base: Base,
    file_monitor: FileMonitor,
    catalog: Catalog,
    services: TransferServices,
    claims: ClaimWatch | None,
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
        claims=claims,
    )


def _now() -> datetime:
    return datetime.now(UTC)
