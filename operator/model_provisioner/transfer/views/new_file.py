"""Writes a small file of a view, so that its reader sees the old or the new content, and no other name meanwhile.

Called by `blobs` and `manifests`. The new file is made in the store's own directory, under one name for each claim: a
kill leaves at most one, which the next write replaces.
"""

import hashlib
import os

from model_provisioner.domain.store.claim import Claim
from model_provisioner.transfer.store import posix
from model_provisioner.transfer.store.store import Volume


def write_into(volume: Volume, claim: Claim, name: str, directory: int, content: bytes) -> None:
    """Makes `content` the file `name` in `directory` (a descriptor), readable as published files are."""
    temporary = f"view-{hashlib.sha256(str(claim).encode()).hexdigest()[:16]}"
    posix.write_document(temporary, volume.private, content)
    fd = posix.open_regular(temporary, volume.private)
    try:
        posix.set_mode_and_group(fd, volume.modes.file, volume.modes.group)
    finally:
        os.close(fd)
    os.rename(temporary, name, src_dir_fd=volume.private, dst_dir_fd=directory)
