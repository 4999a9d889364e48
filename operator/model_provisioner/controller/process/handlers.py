"""What kopf calls, and nothing else: every handler hands over to `controller.operator` at once.

One endless daemon per object, one deletion handler, one wake-up. Handlers return None, so that kopf
stores no results in the status; the memo remembers what of an object was seen last.
"""

from typing import Any

import kopf

from model_provisioner.controller.process.health import Health
from model_provisioner.controller.process.login import Login
from model_provisioner.controller.reconcile.manager import Manager
from model_provisioner.domain.annotations import GROUP, RECONCILE_AT, VERIFY_AT
from model_provisioner.domain.errors import ProvisionError
from model_provisioner.kube.reflector import SILENCE_SECONDS
from model_provisioner.kube.resource import FINALIZER, PLURAL, VERSION

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # a copy of the manifest
_RELEASE_ANYWAY_SECONDS = 60.0
# An API server that is back is noticed within the last of these; they end, since `reach` counts on kopf's giving up.
_PAUSES_SECONDS: tuple[int, ...] = (1, 1, 2, 3, *[5] * 10)


def register(registry: kopf.OperatorRegistry, operator: Manager, health: Health, login: Login) -> None:
    """Adds the handlers to `registry`; `login` gives kopf its connection, `health` hears of every delivery."""
    kopf.on.startup(registry=registry)(_configure)
    resource = (GROUP, VERSION, PLURAL)

    @kopf.on.login(registry=registry)
    async def connect(**_: Any) -> kopf.ConnectionInfo:
        return await login()

    def is_news(body: kopf.Body, memo: kopf.Memo, event: kopf.RawEvent, **_: Any) -> bool:
        """A predicate rather than a handler's first line: kopf logs every handler that it runs."""
        meta = body["metadata"]
        _forget_what_nobody_reads(event)
        health.delivered(event["type"], meta["uid"], meta["resourceVersion"])
        annotations = meta.get("annotations") or {}
        seen = (meta.get("generation"), annotations.get(RECONCILE_AT), annotations.get(VERIFY_AT))
        known, memo.seen = memo.get("seen"), seen
        if known is None:
            return False  # a life that begins looks for itself
        return bool(seen != known) or operator.is_contested(body)

    @kopf.on.event(*resource, id="wake", when=is_news, registry=registry)
    async def wake(uid: str, **_: Any) -> None:
        operator.wake(uid)

    @kopf.daemon(*resource, id="live", registry=registry, cancellation_backoff=10, cancellation_timeout=5)
    async def live(body: kopf.Body, stopped: kopf.DaemonStopped, **_: Any) -> None:
        async def wait(seconds: float | None) -> bool:
            return bool(await stopped.wait(seconds))

        await operator.live(body, wait)

    @kopf.on.delete(*resource, id="release", registry=registry, backoff=5)
    async def release(body: kopf.Body, runtime: Any, **_: Any) -> None:
        try:
            await operator.release(body)
        except (ProvisionError, TimeoutError) as error:
            if runtime.total_seconds() < _RELEASE_ANYWAY_SECONDS:
                raise kopf.TemporaryError(f"not released yet: {_why(error)}", delay=2) from None
            await operator.postpone_cleanup(body, _why(error))


def _forget_what_nobody_reads(event: kopf.RawEvent) -> None:
    """It is more than half of the document that kopf keeps for each object."""
    metadata: Any = event["object"]["metadata"]
    metadata.pop("managedFields", None)
    (metadata.get("annotations") or {}).pop(_LAST_APPLIED, None)


def _why(error: ProvisionError | TimeoutError) -> str:
    return str(error) or "its volume or the API server does not answer"


async def _configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """Our own names for everything that kopf leaves on an object, and as little of it as possible."""
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP)
    settings.persistence.diffbase_storage = _NoDifferences()
    settings.background.instant_exit_timeout = 5.0
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 60
    settings.networking.error_backoffs = _PAUSES_SECONDS
    settings.watching.inactivity_timeout = SILENCE_SECONDS


class _NoDifferences(kopf.DiffBaseStorage):
    """kopf keeps what it handled last in an annotation, to find changes; the lifecycle looks at the whole object
    anyway. Nobody handles a change here, so to kopf all objects are as they were: one write less for each.
    """

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        """There is nothing to keep."""
