"""Creates a ModelDownload for a ref that a pod asks for and no object of the namespace has, as the gateway does.

Called by `controller.gates.namespace_gates`. The object has the ref and nothing else: no Secret, no endpoint, the
default claim. A pod names no Secret; what the chart's `defaults` add is the administrator's choice. With
`_MOST_OBJECTS` in the namespace none is created any more, because pods may name any number of refs, and the right to
create pods is not that to create ModelDownloads. What the API server refuses (a quota, a policy) is told by the
pod's Event, and tried again later. An object that is deleted while a pod waits is created again, ten seconds after the
last creation at the earliest.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.object_names import object_name
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import API_VERSION, KIND, collection_path

_LOG = logging.getLogger(__name__)
_REFUSED = Backoff(first=2.0, longest=120.0)
_UNANSWERED = Backoff(first=0.5, longest=15.0)
_AGAIN_SECONDS = 10.0
_MOST_OBJECTS = 1000


@dataclass(slots=True)
class _Creation:
    ref: ModelRef
    not_before: float = -math.inf
    failures: int = 0
    refusal: str = ""


class Creations:
    """Of one namespace. Run `run` as a task.

    `is_wanted` says whether a pod waits for a ref that no object has. `has` says whether there is an object of a name,
    `count` how many there are.
    `on_change` is called with a ref when its `refusal` has changed. `monotonic` is in seconds, `jitter` returns a
    random number in 0..1.
    """

    def __init__(
        self,
        api: KubeApi,
        namespace: str,
        is_wanted: Callable[[ModelRef], bool],
        has: Callable[[str], bool],
        count: Callable[[], int],
        on_change: Callable[[ModelRef], None],
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._api = api
        self._namespace = namespace
        self._is_wanted = is_wanted
        self._has = has
        self._count = count
        self._on_change = on_change
        self._monotonic = monotonic
        self._jitter = jitter
        self._known: dict[str, _Creation] = {}
        self._open: dict[str, None] = {}  # an ordered set: the oldest first
        self._unseen: dict[str, float] = {}
        self._wakeup = asyncio.Event()

    def want(self, ref: ModelRef) -> None:
        """Creates an object for `ref` soon, if a pod still waits for it then."""
        self._known.setdefault(str(ref), _Creation(ref))
        self._open[str(ref)] = None
        self._wakeup.set()

    def refusal(self, ref: ModelRef) -> str:
        """Why the API server refused the last try; empty if it did not."""
        known = self._known.get(str(ref))
        return known.refusal if known else ""

    async def run(self) -> None:
        """Runs until cancelled. Creates one object after the other."""
        while True:
            self._wakeup.clear()
            self._forget_unwanted()
            now = self._monotonic()
            for creation in [self._known[text] for text in self._open]:
                if creation.not_before <= now and self._is_wanted(creation.ref):
                    await self._create(creation)
            await self._wait()

    async def _wait(self) -> None:
        next_due = min((self._known[text].not_before for text in self._open), default=math.inf)
        try:
            async with asyncio.timeout(None if next_due == math.inf else max(next_due - self._monotonic(), 0)):
                await self._wakeup.wait()
        except TimeoutError:
            return

    def _forget_unwanted(self) -> None:
        """Forgets also what was created long ago: a pod that waits for it now is one that came later."""
        now = self._monotonic()
        for text, creation in list(self._known.items()):
            if not self._is_wanted(creation.ref) and creation.not_before <= now:
                del self._known[text]
                self._open.pop(text, None)

    async def _create(self, creation: _Creation) -> None:
        before = creation.refusal
        if self._objects() < _MOST_OBJECTS:
            await self._ask(creation)
        else:
            self._refused(
                creation,
                f"namespace {self._namespace} has {_MOST_OBJECTS} ModelDownloads, and with so many the operator "
                "creates none for pods: delete some, or create this one yourself",
            )
            await asyncio.sleep(0)  # there may be thousands
        if creation.refusal != before:
            self._on_change(creation.ref)

    def _objects(self) -> int:
        """How many ModelDownloads there are, with those that were created just now and the watch has not brought."""
        now = self._monotonic()
        self._unseen = {name: end for name, end in self._unseen.items() if end > now and not self._has(name)}
        return self._count() + len(self._unseen)

    async def _ask(self, creation: _Creation) -> None:
        name = object_name(creation.ref)
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": self._namespace},
            "spec": {"modelRef": str(creation.ref)},
        }
        try:
            await self._api.create(collection_path(self._namespace), body)
        except ApiError as error:
            self._failed(creation, name, error)
        else:
            _LOG.info("%s/%s: created for a pod that waits for %s", self._namespace, name, creation.ref)
            self._unseen[name] = self._monotonic() + _AGAIN_SECONDS
            self._done(creation)

    def _failed(self, creation: _Creation, name: str, error: ApiError) -> None:
        if error.is_conflict and not self._has(name):  # created meanwhile: the watch brings it
            self._done(creation)
            return
        _LOG.warning("%s/%s could not be created for a pod: %s", self._namespace, name, error)
        if error.is_transient:
            self._pause(creation, _UNANSWERED, error.retry_after or 0.0)
        else:
            why = f"ModelDownload {name} exists and has another ref" if error.is_conflict else error.message
            self._refused(creation, why, error.retry_after or 0.0)

    def _refused(self, creation: _Creation, why: str, at_least: float = 0.0) -> None:
        creation.refusal = why
        self._pause(creation, _REFUSED, at_least)

    def _pause(self, creation: _Creation, pauses: Backoff, at_least: float) -> None:
        creation.failures += 1
        pause = pauses.jittered(creation.failures, self._jitter())
        creation.not_before = self._monotonic() + max(pause, at_least)

    def _done(self, creation: _Creation) -> None:
        creation.failures, creation.refusal = 0, ""
        creation.not_before = self._monotonic() + _AGAIN_SECONDS
        self._open.pop(str(creation.ref), None)
