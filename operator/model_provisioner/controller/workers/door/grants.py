"""Which file a worker pod may have from the operator: one file, for one pod, for as long as its fetch runs.

`controller.transfers.copies` makes grants when the source has accepted the credentials of the object; `file_route`
asks for them. A grant is random and is known to the operator and to the pod alone. No I/O here.
"""

import contextlib
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.plan import PlannedFile

_GRANT_BYTES = 32
_MOST_COPIES = 3
"""So often a pod may take the bytes of its file: a cut costs some, and wrong ones are fetched anew."""
_SPARE_BYTES = 64 * 1024**2


@dataclass(frozen=True, slots=True)
class Stored:
    """A `file`, with its path on `claim`, which the operator mounts, in the store `store_id`."""

    claim: Claim
    store_id: str
    file: PlannedFile


@dataclass(slots=True, eq=False)
class Grant:
    """`process` is that of the pod, of which only the identity counts. `left` bytes of `stored` may still be sent."""

    process: object
    stored: Stored
    left: int

    def take(self, size: int) -> bool:
        """Counts `size` bytes. False if they are too many."""
        self.left -= size
        return self.left >= 0


class Grants:
    """Those of all fetches that run."""

    def __init__(self) -> None:
        self._by_hash: dict[str, Grant] = {}

    @contextlib.contextmanager
    def given(self, process: object, stored: Stored) -> Iterator[str]:
        """The secret of a grant that is valid while the block runs."""
        secret = secrets.token_urlsafe(_GRANT_BYTES)
        key = _hash(secret)
        self._by_hash[key] = Grant(process, stored, _MOST_COPIES * stored.file.size + _SPARE_BYTES)
        try:
            yield secret
        finally:
            self._by_hash.pop(key).left = 0  # a request may wait for a place

    def find(self, secret: str, process: object) -> Grant | None:
        """The grant of `secret` if it was given to `process`.

        It is looked up by its hash, so that the time of an answer tells nothing of a secret that is nearly right.
        """
        grant = self._by_hash.get(_hash(secret))
        return grant if grant and grant.process is process else None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
