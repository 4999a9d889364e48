"""`model-provisioner prune`: says what of a store nobody holds, and deletes it where that is asked for.

For a person on the volume, such as in a debugging pod. Nothing below `local/`, nothing that a holder
record names and nothing that is not a model is ever listed. What counts as held: `domain.holders`.
"""

import argparse
import sys
from pathlib import Path

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.quantity import format_bytes
from model_provisioner.transfer.store.records import StoreRecords, UnheldFiles
from model_provisioner.transfer.store.store import Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, required=True, metavar="DIR", help="the directory of the store")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="only say what nobody holds (the default)")
    what.add_argument("--yes", action="store_true", help="delete it; let no fetch without a cluster run meanwhile")


def run(args: argparse.Namespace) -> int:
    """0, or 1 after an error whose name and message are the last line on standard error."""
    try:
        store = Store.find(args.store, None)
        if store is None:
            return _fail(f"{args.store} holds no store: name the directory that has .provisioner in it")
        with store:
            return _prune(store.records, delete=args.yes)
    except ProvisionError as error:
        return _fail(f"{error.reason}: {error.message}")


def _prune(records: StoreRecords, *, delete: bool) -> int:
    unheld = records.unheld()
    _print_unheld(unheld)
    if unheld.unreadable_records:
        names = ", ".join(unheld.unreadable_records)
        return _fail(f"these holder records can't be read and may hold any of it: {names}; nothing is deleted")
    if delete:
        records.prune(unheld)
        _print("deleted")
    elif unheld.all_files:
        _print("nothing is deleted; add --yes to delete all of this")
    return 0


def _print_unheld(unheld: UnheldFiles) -> None:
    for entry in unheld.all_files:
        _print(f"{entry.path}  {format_bytes(entry.size)}")
    total = sum(entry.size for entry in unheld.all_files)
    _print(
        f"held by nobody: {format_bytes(total)} (published files: {len(unheld.published)}, parts: {len(unheld.parts)})"
    )


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def _fail(message: str) -> int:
    sys.stderr.write(f"{message}\n")
    return 1
