"""The handlers that kopf calls, and the settings of kopf. Called once by `controller.app`.

There is one deletion handler, and one event handler, which tells `reconcile.manager` of every version of an object: no
other logic belongs here. No daemon runs: it would be a task for each object, of which thousands are idle. The handlers
return None, because kopf would store a result in the status. What kopf has to remember is kept in memory (`progress`):
nothing that an editor of an object can write, except the fields of Kubernetes itself, changes what kopf does.
"""

from collections.abc import Callable, Coroutine
from typing import Any

import kopf

from model_provisioner.controller.process.health import Health
from model_provisioner.controller.process.login import Login
from model_provisioner.controller.process.progress import MemoryProgress
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.domain.annotations import GROUP
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.kube.reflector import SILENCE_SECONDS
from model_provisioner.kube.resource import FINALIZER, PLURAL, VERSION, drop_unused_fields

_RELEASE_ANYWAY_SECONDS = 60.0
_PAGE_SIZE = 100  # of one response to a list: kopf holds these documents until it has handled the objects
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

    def needs_wake(body: kopf.Body, event: kopf.RawEvent, **_: Any) -> bool:
        """Takes every event; whether it may change what a running reconciliation does.

        It is a predicate, because kopf logs every handler that it runs, and most events come from our own writes.
        """
        document: Any = event["object"]
        metadata = document["metadata"]
        drop_unused_fields(metadata)
        health.delivered(event["type"], metadata["uid"], metadata["resourceVersion"], body)
        progress.delivered(event["type"], metadata["uid"])
        if event["type"] == "DELETED":
            manager.forget(metadata["uid"])
            return False
        return manager.observe(document)

    @kopf.on.event(*resource, id="wake", when=needs_wake, registry=registry)
    async def wake(uid: str, **_: Any) -> None:
        manager.wake(uid)

    # kopf brings the body of an object up to date when it receives an event, also if it delivers the event later, but
    # only with a daemon. `Health` reads it.
    @kopf.daemon(*resource, id="live", registry=registry, when=_never)
    async def live(**_: Any) -> None:
        """Never runs."""

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


def _never(**_: Any) -> bool:
    return False


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
    settings.watching.chunk_size = _PAGE_SIZE
    settings.queueing.idle_timeout = 1.0  # a worker keeps the whole document of its object until then


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
