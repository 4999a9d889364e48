"""Decides whether the bytes of an unfinished file can be continued, from what its journal records.

`transfer.store.partfile` reads and writes journals and calls `decide`; no file is opened here. A journal is bound to
the identity of the remote file, not to a URL or a token. Bytes are kept only if journal, part and plan agree exactly.
Otherwise the file starts again, because a wrong byte is only found when all bytes are hashed at the end.
"""

from dataclasses import dataclass

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile

MAX_SPANS = 4096
"""Of one journal. A transfer has at most one gap for each of its 16 connections, and a few of earlier attempts."""

MAX_EPOCHS_AHEAD = 100_000
"""A journal whose epoch is further ahead was not written by an operator: each epoch takes seconds."""


@dataclass(frozen=True, slots=True)
class Journal:
    """What was recorded about an unfinished file.

    `source`, `size`, `digest` and `endpoint` are those of the planned file; earlier versions recorded no endpoint
    (None). `epoch` is the `leaseTransitions` of the operator's Lease at the last write, so a newer operator has a
    larger one. `restarts` counts how often journalled bytes were
    discarded. `spans` are the bytes that are on disk.
    """

    source: str
    size: int
    digest: Digest | None
    epoch: int
    restarts: int
    spans: Spans
    endpoint: str | None = None

    def supersedes(self, epoch: int) -> bool:
        """Whether an operator newer than `epoch` wrote this."""
        return epoch < self.epoch <= epoch + MAX_EPOCHS_AHEAD


@dataclass(frozen=True, slots=True)
class Resume:
    """Continue the part: `spans` are on disk."""

    spans: Spans
    restarts: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Start without bytes; `why` is for debugging."""

    why: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer operator, with this epoch, writes the file. Stop without any write."""

    epoch: int


Decision = Resume | Restart | Superseded


def decide(journal: Journal | None, part_size: int | None, file: PlannedFile, epoch: int) -> Decision:
    """What to do with the part of `file`.

    `journal` is None if there is none or it cannot be read. `part_size` is the length of the part in bytes, None if
    there is no part. `epoch` is the one of the caller.
    """
    if journal is None:
        # An empty part is created before its first journal is written.
        return Restart("no part yet", 0) if not part_size else Restart("the journal is missing or damaged", 1)
    if journal.supersedes(epoch):
        return Superseded(journal.epoch)
    why = _why_not(journal, part_size, file, epoch)
    if why is None:
        return Resume(journal.spans, journal.restarts)
    return Restart(why, journal.restarts + (1 if journal.spans.total else 0))


def recordable(spans: Spans) -> Spans:
    """As many of `spans` as one journal may have."""
    return Spans(spans.pairs[:MAX_SPANS])


def _why_not(journal: Journal, part_size: int | None, file: PlannedFile, epoch: int) -> str | None:
    reasons = {
        "the journal has an epoch that no operator can have reached": journal.epoch > epoch,
        "the journal is of another file": (
            (journal.source, journal.size, journal.digest) != (file.source, file.size, file.digest)
        ),
        "the bytes may be of another hub, and no digest is published to compare them with": (
            not file.accepts_bytes_of(journal.endpoint)
        ),
        "the journal tells of bytes past the end of the file": journal.spans.end > file.size,
        "the part is gone": part_size is None,
        "the part has another length than the file": part_size != file.size,
    }
    return next((why for why, holds in reasons.items() if holds), None)
