"""The settled objects: they are Ready, and nothing runs for them until they or their files change.

There may be ten thousand, so that each is kept as small as possible: its files, which the file monitor looks at, and
its document, compressed. Kept by `manager`, which decides when an object is settled and what a change starts.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from model_provisioner.controller.stores.file_monitor import FileMonitor, Waiter
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.store.claim import Claim

_LEVEL = 1  # of zlib: a higher one takes longer and saves a tenth

Document = Mapping[str, Any]


def packed(document: Document) -> bytes:
    """The document in about a tenth of its memory."""
    return zlib.compress(json.dumps(document, separators=(",", ":")).encode(), _LEVEL)


def unpacked(data: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(zlib.decompress(data))
    return document


def drop_content(document: dict[str, Any]) -> None:
    """Removes all but the metadata from a document that kopf also keeps, and reads nothing else of."""
    document.pop("spec", None)
    document.pop("status", None)
    document["metadata"].pop("annotations", None)


@dataclass(frozen=True, slots=True)
class _Settled:
    version: int
    document: bytes
    waiter: Waiter


class SettledObjects:
    """`on_files_changed` is called with the uid of an object whose files must be looked at."""

    def __init__(self, file_monitor: FileMonitor, on_files_changed: Callable[[str], None]) -> None:
        self._file_monitor = file_monitor
        self._on_files_changed = on_files_changed
        self._objects: dict[str, _Settled] = {}

    @property
    def uids(self) -> frozenset[str]:
        return frozenset(self._objects)

    def add(self, download: ModelDownload, document: bytes) -> None:
        """Keeps the object, whose `packed` document is `document`, and has its files looked at."""
        uid, model = download.uid, download.status.model
        if model is None:
            raise ValueError(f"{uid} has no model")
        claim = Claim(download.namespace, model.claim_name)
        waiter = Waiter(claim, model.store_id, model.files, lambda: self._on_files_changed(uid))
        self._file_monitor.add(waiter)
        self._objects[uid] = _Settled(int(download.resource_version), document, waiter)

    def take(self, uid: str) -> dict[str, Any] | None:
        """Removes the object; returns its document, None if it is not settled."""
        settled = self._objects.pop(uid, None)
        if settled is None:
            return None
        self._file_monitor.discard(settled.waiter)
        return unpacked(settled.document)

    def is_known(self, uid: str, version: int) -> bool:
        """Whether the object is settled in this version or a later one."""
        settled = self._objects.get(uid)
        return settled is not None and version <= settled.version
