"""The hard links that a view has to published files: they must not keep the bytes of a deleted or replaced file.

Called by `published_files` before either happens, also by `model-provisioner fetch` and its `prune`, which know nothing
else of views. `transfer.views` makes the links.
"""

import os
from contextlib import suppress

from model_provisioner.domain.store.paths import OLLAMA_BLOBS
from model_provisioner.transfer.store import posix


def release(root: int, published: os.stat_result) -> None:
    """Removes the other names in the view of the file with the lstat `published`. `root` is the volume's."""
    if published.st_nlink < 2:
        return
    try:
        with posix.opened_directory(root, list(OLLAMA_BLOBS)) as blobs:
            for name in _linked(blobs, (published.st_dev, published.st_ino)):
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=blobs)
            posix.sync_directory(blobs)
    except OSError as error:
        if error.errno not in posix.NO_FILE:
            raise


def _linked(directory: int, file: tuple[int, int]) -> list[str]:
    with os.scandir(directory) as entries:
        names = [entry.name for entry in entries]
    found = {name: posix.stat_regular(name, directory) for name in names}
    return [name for name, facts in found.items() if facts and (facts.st_dev, facts.st_ino) == file]
