"""The handlers that kopf calls, and the settings of kopf. Called once by `controller.app`.

There is one endless daemon per object, one deletion handler, and one event handler that wakes the daemon. Each calls
`reconcile.manager` at once: no other logic belongs here. They return None, because kopf would store a result in the
status. What kopf has to remember is kept in memory (`progress`): nothing that an editor of an object can write, except
the fields of Kubernetes itself, changes what kopf does.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import kopf

from model_provisioner.controller.process.health import Health
from model_provisioner.controller.process.login import Login
from model_provisioner.controller.process.progress import MemoryProgress
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.domain.annotations import GROUP, RECONCILE_AT, VERIFY_AT
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.kube.reflector import SILENCE_SECONDS
from model_provisioner.kube.resource import FINALIZER, PLURAL, VERSION

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # a copy of the manifest
_RELEASE_ANYWAY_SECONDS = 60.0
# An API server that is back is noticed within the last of these. The tuple is finite: `namespaces` relies on kopf
# ending the process if a watch stays refused.
_ERROR_BACKOFFS_SECONDS: tuple[int, ...] = (1, 1, 2, 3, *[5] * 10)


def register(registry: kopf.OperatorRegistry, manager: Manager, health: Health, login: Login) -> None:
    """Adds the handlers to `registry`. `login` returns kopf's connection, `health` receives every delivered event."""
    progress = MemoryProgress()
    kopf.on.startup(registry=registry)(_settings_with(progress))
    resource = (GROUP, VERSION, PLURAL)

    @kopf.on.login(registry=registry)
    async def connect(**_: Any) -> kopf.ConnectionInfo:
        return await login()

    def needs_wake(body: kopf.Body, memo: kopf.Memo, event: kopf.RawEvent, **_: Any) -> bool:
        """Whether the event may change what the reconciliation does.

        It is a predicate, because kopf logs every handler that it runs, and most events come from our own writes. kopf
        calls it for every event, so it also counts the delivery.
        """
        meta = body["metadata"]
        _drop_unused_fields(event)
        health.delivered(event["type"], meta["uid"], meta["resourceVersion"], body)
        progress.delivered(event["type"], meta["uid"])
        annotations = meta.get("annotations") or {}
        seen = (meta.get("generation"), annotations.get(RECONCILE_AT), annotations.get(VERIFY_AT))
        known, memo.seen = memo.get("seen"), seen
        if known is None:
            return False  # the daemon starts now and reads the object itself
        return bool(seen != known) or manager.has_foreign_status(body)

    @kopf.on.event(*resource, id="wake", when=needs_wake, registry=registry)
    async def wake(uid: str, **_: Any) -> None:
        manager.wake(uid)

    @kopf.daemon(*resource, id="live", registry=registry, cancellation_backoff=10, cancellation_timeout=5)
    async def reconcile(body: kopf.Body, stopped: kopf.DaemonStopped, **_: Any) -> None:
        async def wait(seconds: float | None) -> bool:
            return bool(await stopped.wait(seconds))

        await manager.run(body, wait)

    @kopf.on.delete(*resource, id="release", registry=registry, backoff=5)
    async def release(body: kopf.Body, runtime: Any, **_: Any) -> None:
        try:
            with health.working_on(body["metadata"]["uid"]):
                await manager.release(body)
        except (ProvisionError, TimeoutError) as error:
            if runtime.total_seconds() < _RELEASE_ANYWAY_SECONDS:
                await manager.report_delay(body, _why(error))
                raise kopf.TemporaryError(f"not released yet: {_why(error)}", delay=2) from None
            await manager.postpone_cleanup(body, _why(error))


def _drop_unused_fields(event: kopf.RawEvent) -> None:
    """Removes more than half of the document, which kopf keeps in memory for each object."""
    metadata: Any = event["object"]["metadata"]
    metadata.pop("managedFields", None)
    (metadata.get("annotations") or {}).pop(_LAST_APPLIED, None)


def _why(error: ProvisionError | TimeoutError) -> str:
    return str(error) or "its volume or the API server does not answer"


def _settings_with(progress: kopf.ProgressStorage) -> Callable[..., Coroutine[Any, Any, None]]:
    async def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
        _configure(settings, progress)

    return configure


def _configure(settings: kopf.OperatorSettings, progress: kopf.ProgressStorage) -> None:
    """Our own names for all that kopf writes to an object, and as few writes as possible."""
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = progress
    settings.persistence.diffbase_storage = _NoDiffBase()
    settings.background.instant_exit_timeout = 5.0
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = _ERROR_BACKOFFS_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS


class _NoDiffBase(kopf.DiffBaseStorage):
    """Saves one write per object: kopf's annotation with the last handled version, from which it computes changes.

    No handler here is for changes: the reconciler reads the whole object. So kopf may take every object for unchanged.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        """Stores nothing."""
