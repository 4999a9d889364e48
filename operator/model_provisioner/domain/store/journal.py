"""What the journal of an unfinished file says, and whether its bytes may be continued.

A journal is bound to the identity of the remote file, never to an address or a token. The rule is
careful: bytes are kept only where journal, part and plan agree exactly; anything else starts that
file again, because a wrong byte is found only after the last one has come. `transfer.partfile` reads
and writes journals; no file is touched here.
"""

from dataclasses import dataclass

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile


@dataclass(frozen=True, slots=True)
class Journal:
    """`spans` are on disk. `epoch` is the writer's; `restarts` counts how often journalled bytes were thrown away."""

    source: str
    size: int
    digest: Digest | None
    epoch: int
    restarts: int
    spans: Spans


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on with what is there."""

    spans: Spans
    restarts: int


@dataclass(frozen=True, slots=True)
class Restart:
    """Start with no bytes; `why` is for whoever debugs it."""

    why: str
    restarts: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer operator, with this epoch, writes the file: stop, and touch nothing."""

    epoch: int


Decision = Resume | Restart | Superseded


def decide(journal: Journal | None, part_size: int | None, file: PlannedFile, epoch: int) -> Decision:
    """What to do with the part of `file`.

    `journal` is None where there is none that can be read; `part_size` is the length in bytes of the
    part, None where there is none. `epoch` is the caller's own.
    """
    if journal is None:
        # A part is made empty before its first journal is written.
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
    if journal.spans.end > file.size:
        return "the journal tells of bytes past the end of the file"
    if part_size is None:
        return "the part is gone"
    if part_size != file.size:
        return "the part has another length than the file"
    return None
