"""What resolving a ref yields: which bytes go where, and what they must turn out to be.

A plan is made by a source, settled by the store (final paths) and carried out by the transfer engine.
It holds no credentials and no signed URL: `url` is the address that can be asked again at any time.
"""

import hashlib
from dataclasses import dataclass

from model_provisioner.domain.modeldownload import FileRecord
from model_provisioner.domain.store.digest import Digest


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of a plan.

    `source` identifies the remote file independently of endpoint and time (`hf:owner/repo:path`), so
    that a part survives a new commit that did not touch the file. `digest` is what the content must
    hash to: the user's, else the source's own; None means that it is computed and recorded as such.
    `url` is None for a file that is already in the store (`local:`).
    """

    path: str
    size: int
    digest: Digest | None
    source: str
    url: str | None

    @property
    def part_key(self) -> str:
        """Names the unfinished file: another size or digest can never continue this part.

        The final path belongs to it, because transfers are kept apart by path: the same bytes under
        two revisions are two transfers, and two writers must never meet in one part.
        """
        identity = "\n".join([self.source, str(self.size), str(self.digest), self.path])
        return hashlib.sha256(identity.encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of one model, in the order in which a split model numbers its parts.

    `revision` is the commit that `ref` meant when it was resolved (None for `local:`).
    """

    ref: str
    revision: str | None
    files: tuple[PlannedFile, ...]

    @property
    def records(self) -> tuple[FileRecord, ...]:
        """What is known of the files before their bytes are here."""
        return tuple(FileRecord(one.path, one.size, str(one.digest) if one.digest else None) for one in self.files)

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)
