"""The id of the store in a directory, and the probe of what its volume can do.

Prevents work on an empty or wrong directory, such as a mount point without its volume. Called by `store`, and by
nothing outside this package.
"""

import os
import uuid
from pathlib import Path

from model_provisioner.domain.annotations import RECONCILE_AT
from model_provisioner.domain.errors import VolumeChanged, VolumeNotWritable, VolumeUnsuitable
from model_provisioner.domain.store.paths import PRIVATE
from model_provisioner.transfer.store import posix, private_files
from model_provisioner.transfer.store.documents import (
    LAYOUT,
    MAX_SMALL_BYTES,
    StoreDocument,
    decode_store,
    encode_store,
)

_STORE_FILE = "store.json"


def open_root(directory: Path, expected_id: str | None) -> int:
    """A descriptor of the volume's root.

    If the directory is missing, raises VolumeChanged if a store is expected there, else VolumeNotWritable.
    """
    try:
        return posix.open_root(directory)
    except VolumeNotWritable as error:
        if expected_id is not None:
            raise _volume_changed(directory, expected_id, None) from error
        raise


def open_private(root: int, directory: Path, expected_id: str | None) -> int:
    """A descriptor of the store's private directory, which is made if no store is expected.

    Raises VolumeChanged if a store is expected and the directory is missing, VolumeUnsuitable if another user can
    change it.
    """
    try:
        return private_files.open_directory(PRIVATE, root, PRIVATE, create=expected_id is None)
    except FileNotFoundError as error:
        raise _volume_changed(directory, expected_id, None) from error


def identify(private: int, directory: Path, expected_id: str | None) -> str:
    """The id of the store whose private directory is `private`. If there is none and none is expected, makes one.

    Raises VolumeChanged if the store does not have the id `expected_id`, VolumeUnsuitable if its document is damaged
    or has a later layout.
    """
    data = _read(private)
    if data is None and expected_id is None:
        data = _create(private)
    document = None if data is None else decode_store(data)
    if expected_id is not None and (document is None or document.id != expected_id):
        raise _volume_changed(directory, expected_id, document.id if document else None)
    if document is None or document.layout != LAYOUT:
        raise VolumeUnsuitable(
            f"the store in {directory} is damaged, or of a later version than this one reads (layout {LAYOUT}):"
            " use the version that made it, or restore .provisioner/store.json"
        )
    return document.id


def find_id(directory: Path) -> str | None:
    """The id of the store in `directory`; None if there is none. Makes nothing. Raises VolumeUnsuitable."""
    try:
        with posix.opened_root(directory) as root, posix.opened_directory(root, [PRIVATE]) as private:
            private_files.keep_directory(private, PRIVATE)
            return None if _read(private) is None else identify(private, directory, None)
    except FileNotFoundError:
        return None


def probe(private: int) -> None:
    """Tries the calls that publishing needs: pwrite, fsync, rename.

    A full volume passes, because models must be removable from it. Raises OSError for `posix.volume_errors`.
    """
    name = f"probe-{uuid.uuid4().hex}"
    try:
        posix.write_document(name, private, b"probe")
    except OSError as error:
        if error.errno not in posix.NO_SPACE:
            raise
    finally:
        for left in (name, f"{name}.new"):
            posix.unlink_if_exists(left, private)


def _create(private: int) -> bytes | None:
    """Writes the store's document, unless another process has done so first, and returns what it contains."""
    store_id = str(uuid.uuid4())
    posix.write_document(store_id, private, encode_store(StoreDocument(layout=LAYOUT, id=store_id)))
    try:
        os.link(store_id, _STORE_FILE, src_dir_fd=private, dst_dir_fd=private)
    except FileExistsError:
        pass
    except OSError:  # no hard links: of several processes that create the store at once, the last one wins
        os.rename(store_id, _STORE_FILE, src_dir_fd=private, dst_dir_fd=private)
    posix.unlink_if_exists(store_id, private)
    posix.sync_directory(private)
    return _read(private)


def _read(private: int) -> bytes | None:
    private_files.check_owner(_STORE_FILE, private, f"{PRIVATE}/{_STORE_FILE}")
    return posix.read_document(_STORE_FILE, private, MAX_SMALL_BYTES)


def _volume_changed(directory: Path, expected_id: str | None, found_id: str | None) -> VolumeChanged:
    found = f"holds store {found_id}" if found_id else "holds no store that can be read"
    return VolumeChanged(
        f"{directory} {found}, but files were recorded on store {expected_id}: mount that volume again,"
        f" or annotate the object with {RECONCILE_AT} to accept this one"
    )
