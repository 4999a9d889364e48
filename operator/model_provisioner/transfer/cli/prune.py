"""`model-provisioner prune`: lists the files of a store that no holder record names, and deletes them with `--yes`.

For a person with access to the volume, such as in a debugging pod. Files below `local/` and files that are not models
are never listed. Which files have no holder is decided in `domain.store.holders`, whether the records may be relied on
in `domain.store.confirmation`. Called by `model_provisioner.cli`.
"""

import argparse
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.quantity import format_bytes
from model_provisioner.domain.store.confirmation import why_unconfirmed
from model_provisioner.transfer.store.records import ListedRecord, StoreRecords, UnheldFiles
from model_provisioner.transfer.store.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="the directory of the store")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only list the files (the default)")
    what.add_argument("--yes", action="store_true", help="delete them; let no fetch without a cluster run meanwhile")


def run(args: argparse.Namespace) -> int:
    """The exit code: 0, or 1 after an error, whose name and message are the last line on standard error."""
    try:
        store = Store.find(args.store, None)
        if store is None:
            return _fail(f"{args.store} holds no store: name the directory that has .provisioner in it")
        with store:
            return _prune(store.records, delete=args.yes)
    except ProvisionError as error:
        return _fail(f"{error.reason}: {error.message}")


def _prune(records: StoreRecords, *, delete: bool) -> int:
    for listed in records.listed():
        _print(_describe(listed))
    unheld = records.unheld()
    _print_unheld(unheld)
    if unheld.unreadable_records:
        names = ", ".join(unheld.unreadable_records)
        return _fail(f"these holder records can't be read and may hold any of it: {names}; nothing is deleted")
    unconfirmed = why_unconfirmed(records.confirmations(), time.time())
    if delete and unconfirmed:
        return _fail(f"nothing is deleted: {unconfirmed}")
    if delete:
        records.prune(unheld)
        _print("deleted")
    elif unheld.all_files:
        _print("nothing is deleted; add --yes to delete all of this")
        if unconfirmed:
            _print(f"--yes would delete nothing now: {unconfirmed}")
    return 0


def _describe(listed: ListedRecord) -> str:
    """One line about a record that this command relies on."""
    record, written = listed.record, datetime.fromtimestamp(listed.written_at, UTC)
    files = f"{len(record.files)} file{'s' * (len(record.files) != 1)}"
    released = ", object deleted" if record.released else ""
    return (
        f"record: {record.namespace}/{record.name}  uid {record.uid}  {files}  {written:%Y-%m-%dT%H:%M:%SZ}{released}"
    )


def _print_unheld(unheld: UnheldFiles) -> None:
    for file in unheld.all_files:
        _print(f"{file.path}  {format_bytes(file.size)}")
    total = sum(file.size for file in unheld.all_files)
    counts = f"published files: {len(unheld.published)}, parts: {len(unheld.parts)}"
    _print(f"held by no object: {format_bytes(total)} ({counts})")


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1
