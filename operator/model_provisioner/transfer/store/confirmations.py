"""The confirmations of operators in a store: `.provisioner/confirmed-<hash of the claim>.json`, one for each claim.

What they mean is decided in `domain.store.confirmation`. A confirmation is written in place, because it must also be
possible on a full volume, which is when `prune` is needed. If a crash damages it, it counts as none until the next one.
Called by `records`.
"""

import hashlib
import os

from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.confirmation import Confirmation
from model_provisioner.transfer.store import posix
from model_provisioner.transfer.store.documents import MAX_SMALL_BYTES, decode_confirmation, encode_confirmation

_PREFIX, _SUFFIX = "confirmed-", ".json"


def write(private: int, claim: Claim, at: int) -> None:
    """Writes the confirmation of `claim` at `at` (seconds since the epoch) into the directory `private`."""
    name = f"{claim.namespace}/{claim.name}"
    data = encode_confirmation(name, at)
    fd = posix.open_own(_file_name(name), private)
    try:
        posix.write_all(fd, 0, data)
        os.ftruncate(fd, len(data))
    finally:
        os.close(fd)


def read_all(private: int) -> tuple[Confirmation, ...]:
    """The confirmations of all claims, by file name."""
    with os.scandir(private) as entries:
        names = sorted(e.name for e in entries if e.name.startswith(_PREFIX) and e.name.endswith(_SUFFIX))
    return tuple(_read(private, name) for name in names)


def _read(private: int, file_name: str) -> Confirmation:
    data = posix.read_document(file_name, private, MAX_SMALL_BYTES)
    claim, at = (None if data is None else decode_confirmation(data)) or (None, None)
    return Confirmation(file_name, claim, at)


def _file_name(claim: str) -> str:
    """A hash, because the name of a claim may be as long as a file name may be."""
    return f"{_PREFIX}{hashlib.sha256(claim.encode()).hexdigest()[:16]}{_SUFFIX}"
