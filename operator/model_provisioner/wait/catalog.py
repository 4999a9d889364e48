"""Reads which files a model has from the catalog, a ConfigMap that is mounted as a directory. `command` calls it.

A key is a file. The kubelet swaps all keys at once, by a symbolic link, about a minute after the ConfigMap has changed;
with `optional: true` the directory is empty until there is one. What stands in it is checked like any input.
`domain.catalog` writes the entries.
"""

import json
import os
from collections.abc import Mapping

from model_provisioner.wait.sight import ExitCode, Missing, Sight, Unreadable
from model_provisioner.wait.volume import checked_path, look, shown

_MAX_BYTES = 1024 * 1024
"""The API server refuses a larger ConfigMap."""
_MAX_FILES = 4097
"""As many parts as a model can have, and its projector."""


def look_up(catalog: str, name: str, models: str) -> Sight:
    """Looks for all files of the object `name` below the directory `models`, if the directory `catalog` has it."""
    try:
        text = _read(catalog, f"{name}.json")
    except OSError as error:
        return Unreadable(f"the catalog at {catalog} can't be read: {error.strerror}", ExitCode.CATALOG_UNREADABLE)
    if text is None:
        return Missing(f"{name} in the catalog at {catalog}")
    try:
        return look(models, files_of(text))
    except ValueError as error:
        return Missing(f"a valid entry of {name} in the catalog at {catalog}: {error}")


def files_of(text: bytes) -> tuple[str, ...]:
    """The paths of all files of a model, the one to load first, from its entry `<name>.json`.

    Raises ValueError with a message for users if it is not such an entry, or a path leaves the volume.
    """
    try:
        entry = json.loads(text) if len(text) <= _MAX_BYTES else None
    except (ValueError, RecursionError):
        entry = None
    files = entry.get("files") if isinstance(entry, Mapping) else None
    if not isinstance(entry, Mapping) or not isinstance(files, list) or len(files) > _MAX_FILES:
        raise ValueError("it must be a JSON document with `path` and `files`")
    found = [_path(document) for document in (entry, *files, *filter(None, [entry.get("projector")]))]
    return tuple(dict.fromkeys(found))


def _path(document: object) -> str:
    path = document.get("path") if isinstance(document, Mapping) else None
    if not isinstance(path, str):
        raise ValueError(f"{shown(str(document))} has no path")  # noqa: TRY004 - one kind of error for any wrong input
    return checked_path(path)


def _read(catalog: str, key: str) -> bytes | None:
    """The value of a key, and one byte of what is too long; None if there is none. Raises OSError."""
    directory = os.open(catalog, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with os.fdopen(os.open(key, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory), "rb") as file:
            return file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    finally:
        os.close(directory)
