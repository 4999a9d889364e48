"""The gates of one namespace: looks at a pod when it or one of its models changes, and does what is due for it.

What is due is one of three steps, in this order of importance: the gate opens, an Event tells what is broken, an Event
tells how far the models are. After them comes the Event of a gate that was opened. At most `_MOST_STEPS` run in a
namespace at one time, so one with a thousand pods delays no other. The decision is made in `domain.pods.decision`,
again right before its step, and the step is done by `pod_writer`. Called by `controller.gates.gates`.
"""

import asyncio
import heapq
import logging
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from model_provisioner.controller.gates.creations import Creations
from model_provisioner.controller.gates.held_pods import HeldPod, HeldPods, Told
from model_provisioner.controller.gates.known_models import KnownModels
from model_provisioner.controller.gates.next_step import Step, next_step
from model_provisioner.controller.gates.pod_writer import PodWriter
from model_provisioner.domain.lifecycle.backoff import Backoff
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.pods.decision import Decision, Holding, Opening, decide
from model_provisioner.domain.pods.gated_pod import GatedPod, read_pod
from model_provisioner.kube.client import ApiError

_LOG = logging.getLogger(__name__)
_MOST_STEPS = 8
_OVERLOADED = frozenset({429, 503})  # by these the API server speaks of itself, by a 500 perhaps of a webhook
_SLICE = 100  # pods that are looked at before other tasks of the event loop run
_REFUSALS_TO_TELL = 3
_REFUSED = Backoff(first=0.2, longest=60.0)
_UNANSWERED = Backoff(first=0.5, longest=15.0)
_MOST_RETRY_AFTER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Rules:
    """`mount_path` is for pods that name none. `creates`: whether objects are created for refs that none has.

    `is_confirmed` says whether the catalog lists an object. `monotonic` is in seconds, `jitter` returns a random number
    in 0..1.
    """

    mount_path: str
    creates: bool
    is_confirmed: Callable[[ModelDownload], bool]
    monotonic: Callable[[], float]
    jitter: Callable[[], float]


class NamespaceGates:
    """Run `run` as a task. `models` and `creations` are those of the same namespace."""

    def __init__(
        self, models: KnownModels, writer: PodWriter, rules: Rules, creations: Callable[["NamespaceGates"], Creations]
    ) -> None:
        self._models = models
        self._writer = writer
        self._rules = rules
        self._pods = HeldPods()
        self._opened: dict[str, int] = {}
        self._creations = creations(self)
        self._steps: list[tuple[Step, float, str]] = []
        self._queued: dict[str, Step] = {}
        self._to_tell: deque[tuple[GatedPod, Opening]] = deque()
        self._running = 0
        self._failures = 0
        self._paused_until = -math.inf
        self._wakeup = asyncio.Event()

    def on_pod(self, kind: str, document: Mapping[str, Any]) -> None:
        """The listener of the watch of pods."""
        uid = document["metadata"]["uid"]
        if kind == "DELETED":
            self._opened.pop(uid, None)
            self._pods.remove(uid)
            return
        self._take_in(read_pod(document, self._rules.mount_path))

    def on_model(self, kind: str, document: Mapping[str, Any]) -> None:
        """The listener of the watch of ModelDownloads."""
        self.look_again(self._models.on_event(kind, document))

    def look_again(self, keys: Iterable[str]) -> None:
        """The pods that `keys` concern are looked at soon."""
        for uid in self._pods.waiting_for(keys):
            self._pods.schedule(uid, self._rules.monotonic())
        self._wakeup.set()

    def is_waited_for(self, keys: Iterable[str]) -> bool:
        return bool(self._pods.waiting_for(keys))

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._creations.run())
            while True:
                self._wakeup.clear()
                await self._look_at_due()
                self._start_steps(tasks)
                await self._wait()

    def _take_in(self, pod: GatedPod) -> None:
        if pod.version < self._opened.get(pod.uid, 0):
            return  # from before our patch: the scheduler writes to a new pod too
        if not pod.is_held:
            self._pods.remove(pod.uid)
            return
        self._pods.put(pod).not_before = -math.inf  # what was refused may be allowed for this version
        self._pods.schedule(pod.uid, self._rules.monotonic())
        self._wakeup.set()

    async def _look_at_due(self) -> None:
        for number, uid in enumerate(self._pods.take_due(self._rules.monotonic()), start=1):
            held = self._pods.get(uid)
            if held and not held.is_busy:
                self._look_at(held)
            if number % _SLICE == 0:
                await asyncio.sleep(0)

    def _look_at(self, held: HeldPod) -> None:
        """Queues what is due for the pod, and decides when it is looked at again."""
        now = self._rules.monotonic()
        decision = self._decide(held)
        self._want_missing(decision)
        step, again = next_step(held, decision, now, len(self._pods))
        uid = held.pod.uid
        if step is not None and step < self._queued.get(uid, math.inf):
            self._queued[uid] = step
            heapq.heappush(self._steps, (step, now, uid))
        if again < math.inf:
            self._pods.schedule(uid, again)

    def _decide(self, held: HeldPod) -> Decision:
        pod = held.pod
        found = [self._models.find(wanted, pod.claims) for wanted in pod.request.models]
        decision = decide(pod, found, self._rules.is_confirmed, creates=self._rules.creates)
        if isinstance(decision, Opening) and held.failures >= _REFUSALS_TO_TELL and not self._may_try(held):
            message = f"the models are Ready, and the API server refuses to open the gate: {held.refusal}"
            decision = Holding("GateNotOpened", message, is_broken=True)
        elif isinstance(decision, Holding):
            refusals = [refusal for ref in decision.missing if (refusal := self._creations.refusal(ref))]
            if refusals:
                message = f"no ModelDownload could be created: {refusals[0]}"
                decision = replace(decision, reason="CreateRefused", message=message, is_broken=True)
        if isinstance(decision, Holding) and decision.reason != held.reason:
            held.reason, held.since = decision.reason, self._rules.monotonic()
        return decision

    def _may_try(self, held: HeldPod) -> bool:
        return held.not_before <= self._rules.monotonic()

    def _want_missing(self, decision: Decision) -> None:
        if isinstance(decision, Holding):
            for ref in decision.missing:
                self._creations.want(ref)

    def _start_steps(self, tasks: asyncio.TaskGroup) -> None:
        while self._steps and self._running < _MOST_STEPS and self._paused_until <= self._rules.monotonic():
            step, _, uid = heapq.heappop(self._steps)
            if self._queued.get(uid) != step:
                continue
            del self._queued[uid]
            held = self._pods.get(uid)
            if held and not held.is_busy:
                held.is_busy = True
                self._running += 1
                tasks.create_task(self._carry_out(held))
        while self._to_tell and self._running < _MOST_STEPS:
            self._running += 1
            tasks.create_task(self._tell_opened(*self._to_tell.popleft()))

    async def _carry_out(self, held: HeldPod) -> None:
        """Does what is due now: the pod or its models may have changed since the step was queued."""
        try:
            decision = self._decide(held)
            step, _ = next_step(held, decision, self._rules.monotonic(), len(self._pods))
            if isinstance(decision, Opening) and step is Step.OPEN:
                await self._open(held, decision)
            elif isinstance(decision, Holding) and step is not None:
                held.told = Told(decision.reason, decision.message, self._rules.monotonic())
                await self._writer.tell(held.pod, decision)
        except ApiError as error:
            self._failed(held, error)
        except Exception:  # noqa: BLE001 -- a bug: the other pods are looked after, and this one again later
            _LOG.exception("%s/%s: the gate of the pod could not be looked after", held.pod.namespace, held.pod.name)
            self._refused(held, "InternalError, see the log of the operator")
        finally:
            held.is_busy = False
            self._running -= 1
            self._pods.schedule(held.pod.uid, self._rules.monotonic())
            self._wakeup.set()

    async def _open(self, held: HeldPod, opening: Opening) -> None:
        self._opened[held.pod.uid] = await self._writer.open(held.pod, opening)
        self._failures = 0
        self._pods.remove(held.pod.uid)
        if held.told:
            self._to_tell.append((held.pod, opening))

    async def _tell_opened(self, pod: GatedPod, opening: Opening) -> None:
        """Told when no gate is to be opened any more: a pod that is open does not wait for its Event."""
        try:
            await self._writer.tell_opened(pod, opening)
        finally:
            self._running -= 1
            self._wakeup.set()

    def _failed(self, held: HeldPod, error: ApiError) -> None:
        if error.is_not_found:
            self._pods.remove(held.pod.uid)
        elif error.is_unanswered or error.status in _OVERLOADED:
            self._failures += 1
            asked_for = min(error.retry_after or 0.0, _MOST_RETRY_AFTER_SECONDS)
            pause = max(_UNANSWERED.jittered(self._failures, self._rules.jitter()), asked_for)
            if self._paused_until <= self._rules.monotonic():
                _LOG.warning("no gate in namespace %s is opened for %.1f s: %s", held.pod.namespace, pause, error)
            self._paused_until = self._rules.monotonic() + pause
        else:
            _LOG.warning("%s/%s: the gate could not be opened: %s", held.pod.namespace, held.pod.name, error)
            self._refused(held, error.message)

    def _refused(self, held: HeldPod, why: str) -> None:
        held.failures += 1
        held.refusal = why
        held.not_before = self._rules.monotonic() + _REFUSED.jittered(held.failures, self._rules.jitter())

    async def _wait(self) -> None:
        """Returns when a pod is due or a step ends."""
        next_due = self._pods.next_due()
        if self._steps and self._running < _MOST_STEPS:
            next_due = min(next_due, self._paused_until)
        try:
            async with asyncio.timeout(None if next_due == math.inf else max(next_due - self._rules.monotonic(), 0)):
                await self._wakeup.wait()
        except TimeoutError:
            return
