"""The objects that the first lists of the reflectors have, as they are when the operator begins to act.

Made by `controller.app`: the queue waits for those that need a slot, and for a settled one nothing is started. Kept for
the start only. What settled means is decided in `domain.lifecycle.settled`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_provisioner.controller.reconcile.settled_objects import packed
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.kube.resource import drop_unused_fields, parse

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Found:
    """One object. `document` is `packed`, and empty if the object is not Ready."""

    download: ModelDownload
    document: bytes


class InitialObjects:
    """Add `on_event` to each reflector before it runs, and call `take` once when all are synced."""

    def __init__(self) -> None:
        self._found: dict[str, Found] | None = {}

    @property
    def downloads(self) -> list[ModelDownload]:
        return [one.download for one in (self._found or {}).values()]

    def on_event(self, kind: str, document: Mapping[str, Any]) -> None:
        if self._found is None:
            return
        uid = document["metadata"]["uid"]
        self._found.pop(uid, None)
        if kind != "DELETED" and (found := _read(document)):
            self._found[uid] = found

    def take(self) -> list[Found]:
        """The objects that can be read, as of now; none is kept any more."""
        found, self._found = self._found or {}, None
        return list(found.values())


def _read(document: Mapping[str, Any]) -> Found | None:
    """None for an object that cannot be read: its own reconciliation reports that, and no other object waits for it."""
    try:
        download = parse(document)
    except ValueError as error:
        _LOG.warning("an object could not be read and is left out: %s", error)
        return None
    drop_unused_fields(document["metadata"])
    return Found(download, packed(document) if download.status.ready else b"")
