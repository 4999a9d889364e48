"""The settled objects: they are Ready, and nothing runs for them until they or their files change.

There may be ten thousand, so that each is kept as small as possible: its files, which the file monitor looks at, and
its document, compressed. Kept by `manager`, which decides when an object is settled and what a change starts.
"""

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_provisioner.controller.stores.file_monitor import FileMonitor, Waiter
from model_provisioner.domain.lifecycle.checks import is_same
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.resource import parse

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
    document: bytes = field(repr=False)
    waiter: Waiter


class SettledObjects:
    """`on_files_changed` is called with the uid of an object whose files must be looked at.

    `on_files_seen` is called with that of an object whose files a worker pod has seen.
    """

    def __init__(
        self,
        file_monitor: FileMonitor,
        on_files_changed: Callable[[str], None],
        on_files_seen: Callable[[str], None],
    ) -> None:
        self._file_monitor = file_monitor
        self._on_files_changed = on_files_changed
        self._on_files_seen = on_files_seen
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
        waiter = Waiter(
            claim,
            model.store_id,
            model.files,
            lambda: self._on_files_changed(uid),
            lambda: self._on_files_seen(uid),
            model.volume_name,
        )
        self._file_monitor.add(waiter)
        self._objects[uid] = _Settled(int(download.resource_version), document, waiter)

    def take(self, uid: str) -> dict[str, Any] | None:
        """Removes the object; returns its document, None if it is not settled."""
        settled = self._objects.pop(uid, None)
        if settled is None:
            return None
        self._file_monitor.discard(settled.waiter)
        return unpacked(settled.document)

    def find(self, uid: str) -> ModelDownload | None:
        """The object as it was when it was settled; None if it is not settled any more."""
        settled = self._objects.get(uid)
        return parse(unpacked(settled.document)) if settled else None

    def keep(self, body: dict[str, Any]) -> ModelDownload | None:
        """Keeps a newer version of an object on a claim that is not mounted, if an attempt would find nothing to do.

        An attempt would start a worker pod. Returns the object, or None if it must be looked at.
        """
        uid = body["metadata"]["uid"]
        settled = self._objects.get(uid)
        if settled is None or self._file_monitor.is_mounted(settled.waiter.claim):
            return None
        try:
            latest = parse(body)
        except ValueError:
            return None
        if not is_same(parse(unpacked(settled.document)), latest):
            return None
        self._file_monitor.discard(settled.waiter)
        self.add(latest, packed(body))
        return latest

    def is_known(self, uid: str, version: int) -> bool:
        """Whether the object is settled in this version or a later one."""
        settled = self._objects.get(uid)
        return settled is not None and version <= settled.version
