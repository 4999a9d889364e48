"""A store on one volume: opens it, and holds its descriptors until it is closed.

A store is the volume's published files, its unfinished files (parts) and its holder records. A fetcher uses
`Store.files`, the store worker `Store.records`. Nothing else is decided here.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from model_provisioner.domain.store.modes import READABLE, Modes
from model_provisioner.domain.store.paths import PRIVATE
from model_provisioner.transfer.store import identity, posix, private_files
from model_provisioner.transfer.store.files import StoreFiles
from model_provisioner.transfer.store.holder_records import HolderRecords, RecordCache

if TYPE_CHECKING:
    from model_provisioner.transfer.store.records import StoreRecords


@dataclass(frozen=True, slots=True)
class Volume:
    """The descriptors of a volume's root and of the store's own directory, and the modes of what is made on it."""

    root: int
    private: int
    modes: Modes


class Store:
    """Use as a context manager, or call `close`; close its parts first.

    `store_id` is the id in the store's document, `volume` is for what else is kept on the volume.
    `open_records` returns the records, and is called once, if at all.
    `opened` closes the descriptors that `files` and `records` work on.
    """

    def __init__(
        self,
        store_id: str,
        volume: Volume,
        files: StoreFiles,
        open_records: "Callable[[], StoreRecords]",
        opened: ExitStack,
    ) -> None:
        self.id = store_id
        self.volume = volume
        self.files = files
        self._open_records = open_records
        self._opened = opened

    @cached_property
    def records(self) -> "StoreRecords":
        return self._open_records()

    @classmethod
    def open(
        cls,
        directory: Path,
        expected_id: str | None,
        modes: Modes = READABLE,
        cache: RecordCache | None = None,
    ) -> "Store":
        """Opens the store in `directory`.

        If `expected_id` is None, a missing store is created, and the volume is probed for what publishing needs.
        If it is given, no store is created and nothing is probed, so a volume that is now read-only can still be
        checked. `modes` applies to published files and their directories; what the store keeps for itself is private.
        `cache` has the records that this process has read of this store before; it is updated.

        Raises VolumeChanged if the store is missing or has another id, VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"open the store in {directory}"), ExitStack() as opened:
            root = identity.open_root(directory, expected_id)
            opened.callback(os.close, root)
            private = identity.open_private(root, directory, expected_id)
            opened.callback(os.close, private)
            store_id = identity.identify(private, directory, expected_id)
            parts = private_files.open_directory("parts", private, f"{PRIVATE}/parts", create=True)
            opened.callback(os.close, parts)
            holders = private_files.open_directory("holders", private, f"{PRIVATE}/holders", create=True)
            opened.callback(os.close, holders)
            if expected_id is None:
                identity.probe(private)
            holder_records = HolderRecords(holders, cache)
            files = StoreFiles(root, private, parts, holder_records, modes)

            def open_records() -> "StoreRecords":
                from model_provisioner.transfer.store.records import StoreRecords  # noqa: PLC0415 - a fetcher would wait for it

                return StoreRecords(root, private, parts, holder_records, files)

            return cls(store_id, Volume(root, private, modes), files, open_records, opened.pop_all())

    @classmethod
    def find(
        cls, directory: Path, expected_id: str | None, cache: RecordCache | None = None, modes: Modes = READABLE
    ) -> "Store | None":
        """Opens the store in `directory` if there is one, else returns None; never creates one.

        Raises VolumeChanged if `expected_id` is given and that store is missing, VolumeNotWritable, VolumeUnsuitable.
        """
        with posix.volume_errors(f"look for a store in {directory}"):
            found = expected_id or identity.find_id(directory)
        return cls.open(directory, found, modes, cache) if found else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._opened.close()
