"""What the engine is asked for, what it returns, and what it reports meanwhile.

Made and read by `transfer.worker` and `transfer.cli`; `engine` carries it out. No decisions are made here.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.download.requests.copies import Copies
from model_provisioner.transfer.download.requests.throttle import Limits

Addresses = Callable[[PlannedFile], Awaitable[Address]]


@dataclass(frozen=True, slots=True)
class Job:
    """`plan` has its final paths; `limits` may change while the job runs.

    `epoch` is that of the operator: a writer stops when it finds a newer one in the journal of its part. `holder_uid`
    is the UID of the ModelDownload; None (the command line) writes no record. `addresses` tells where the bytes of a
    `signed` file are, each time that it is called. `copies` are asked for before the source is.
    """

    plan: Plan
    limits: Limits
    epoch: int
    credentials: Credentials | None = None
    holder_uid: str | None = None
    addresses: Addresses | None = None
    copies: Copies | None = None


@dataclass(frozen=True, slots=True)
class Provided:
    """`files` are in the order of the plan, each with the digest of its content. `received` bytes have come.

    `read` is True if every byte of every file was hashed, False if the digest of a file was taken from a record.
    """

    files: tuple[FileRecord, ...]
    gguf: GGUFSummary
    received: int
    read: bool


class Reporter(Protocol):
    """Receives every change of progress, many times a second. Its methods must not block."""

    def progress(self, done: int, total: int, restarts: int, received: int, wait: Wait | None = None) -> None:
        """`done` of `total` bytes are written; `done` never falls while `restarts` stays the same.

        `received` bytes have come for this job, discarded ones included. `wait` says what the transfer waits for if no
        byte comes.
        """

    def verifying(self, hashed: int, total: int, received: int) -> None:
        """All `total` bytes are written, `hashed` of them are hashed; `received` as in `progress`."""
