"""Decides which question to a hub is asked next, so that no tenant and no hub holds all places of the resolver.

`controller.transfers.question_places` calls this. A slow question keeps its place for minutes, because it can't be told
from one that a caching proxy answers late; therefore places are kept free for others. Which download gets a slot is
decided in `domain.scheduling.queueing`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """What a ref is. `namespace` is that of the object, `origin` the hub that is asked."""

    namespace: str
    origin: str


def next_question(
    waiting: Iterable[Question], in_namespace: Mapping[str, int], at_origin: Mapping[str, int], places: int
) -> Question | None:
    """The question to ask next, None if each has to wait. Of equals, the first in `waiting`.

    `in_namespace` and `at_origin` count the questions that are being asked. A namespace has at most half of the
    `places`, an origin three quarters, and the last quarter is for namespaces that have none.
    """
    running = sum(in_namespace.values())

    def may_start(question: Question) -> bool:
        own = in_namespace.get(question.namespace, 0)
        return (
            running < places
            and own < places // 2
            and at_origin.get(question.origin, 0) < places - places // 4
            and (running < places - places // 4 or own == 0)
        )

    return min(filter(may_start, waiting), key=lambda question: in_namespace.get(question.namespace, 0), default=None)
