"""Decides what is due for a held pod, and when it is looked at again: pure, called by `namespace_gates`.

An Event is told when a state has lasted a moment, on transitions, and about progress once a minute at most; less often
if many pods wait.
"""

import math
from enum import IntEnum

from model_provisioner.controller.gates.held_pods import HeldPod, Told
from model_provisioner.domain.pods.decision import Decision, Holding, Opening

_SETTLE_SECONDS = 1.5  # a pod and its ModelDownload may be applied together; a small model may be Ready until then
_TRANSITION_SECONDS = 3.0
_PROGRESS_SECONDS = 60.0
_PROGRESS_EVENTS_PER_SECOND = 5.0
_REMINDER_SECONDS = 1800.0  # the API server forgets an Event after an hour
_UNCONFIRMED_SECONDS = 1.0


class Step(IntEnum):
    """What is due for a pod; the lowest comes first."""

    OPEN = 0
    TELL_BROKEN = 1
    TELL_PROGRESS = 2


def next_step(held: HeldPod, decision: Decision, now: float, pods: int) -> tuple[Step | None, float]:
    """What is due for the pod now, if anything, and when it is looked at again without a change.

    `now` is in seconds of the monotonic clock. `pods` are held in the namespace.
    """
    if isinstance(decision, Opening):
        return (Step.OPEN, math.inf) if held.not_before <= now else (None, held.not_before)
    again = held.not_before if held.not_before > now else math.inf
    if decision.is_unconfirmed:
        again = min(again, now + _UNCONFIRMED_SECONDS)
    progress_seconds = max(_PROGRESS_SECONDS, pods / _PROGRESS_EVENTS_PER_SECOND)
    due = max(held.since + _SETTLE_SECONDS, _earliest(held.told, decision, progress_seconds))
    if due > now:
        # The message may change until then without a change that is told of: by the progress of a download.
        return None, min(again, due, now + progress_seconds)
    return Step.TELL_BROKEN if decision.is_broken else Step.TELL_PROGRESS, again


def _earliest(told: Told | None, holding: Holding, progress_seconds: float) -> float:
    """When an Event may tell this, after the one that was `told`."""
    if told is None:
        return -math.inf
    if (told.reason, told.message) == (holding.reason, holding.message):
        return told.at + _REMINDER_SECONDS
    if told.reason == holding.reason and not holding.is_broken:
        return told.at + progress_seconds
    return told.at + _TRANSITION_SECONDS
