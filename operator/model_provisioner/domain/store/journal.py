"""Decides whether the bytes of an unfinished file can be continued, from what its journal records.

`transfer.store.partfile` reads and writes journals and calls `decide`; no file is opened here. A journal is bound to
the identity of the remote file, not to a URL or a token. Bytes are kept only if journal, part and plan agree exactly.
Otherwise the file starts again, because a wrong byte is only found when all bytes are hashed at the end.
"""

from dataclasses import dataclass

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile


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
    if journal.epoch > epoch:
        return Superseded(journal.epoch)
    why = _why_not(journal, part_size, file)
    if why is None:
        return Resume(journal.spans, journal.restarts)
    return Restart(why, journal.restarts + (1 if journal.spans.total else 0))


def _why_not(journal: Journal, part_size: int | None, file: PlannedFile) -> str | None:
    if (journal.source, journal.size, journal.digest) != (file.source, file.size, file.digest):
        return "the journal is of another file"
    if not file.accepts_bytes_of(journal.endpoint):
        return "the bytes may be of another hub, and no digest is published to compare them with"
    if journal.spans.end > file.size:
        return "the journal tells of bytes past the end of the file"
    if part_size is None:
        return "the part is gone"
    if part_size != file.size:
        return "the part has another length than the file"
    return None
