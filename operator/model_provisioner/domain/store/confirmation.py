"""Decides whether the holder records of a store may be relied on, so that a file without one may be deleted.

A record can be lost, or a backup can restore its object under another uid. Only the operator knows which objects are
Ready: every two minutes it writes the records that are missing, then a confirmation for its claim into the store.
`prune` has no access to the cluster and deletes nothing without a recent one. `transfer.store.confirmations` reads and
writes them; no file is opened here.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from model_provisioner.domain.quantity import format_duration
from model_provisioner.domain.store.paths import PRIVATE

MAX_AGE_SECONDS = 300
"""Two intervals of the operator, and a minute for their work.

It is also the most that the clocks of two machines may differ."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """At `at` (seconds since the epoch), each Ready object on the claim `claim` (`namespace/name`) had its record.

    It is in the file `file_name` of the store's private directory. `claim` and `at` are None if that can't be read.
    """

    file_name: str
    claim: str | None
    at: int | None


def why_unconfirmed(confirmations: Sequence[Confirmation], now: float) -> str | None:
    """Why the records may lack one of a Ready object at the time `now`, and what to do; None if they have them all.

    A volume may be mounted through several claims: each that has ever confirmed must have done so recently.
    """
    if not confirmations:
        return (
            "no operator has confirmed that each Ready object has its record on this store: start the operator that "
            "mounts it, and try again after two minutes"
        )
    stale = next((found for found in confirmations if not _is_recent(found, now)), None)
    if stale is None:
        return None
    age = "" if stale.at is None else f" (the last time was {format_duration(max(0, round(now - stale.at)))} ago)"
    return (
        f"the operator that mounts claim {stale.claim or 'unknown'} has not confirmed within "
        f"{format_duration(MAX_AGE_SECONDS)} that each of its Ready objects has its record here{age}: start it, and "
        f"try again after two minutes, or read its log; if that claim no longer uses this volume, delete "
        f"{PRIVATE}/{stale.file_name}"
    )


def _is_recent(found: Confirmation, now: float) -> bool:
    return found.at is not None and abs(now - found.at) <= MAX_AGE_SECONDS
