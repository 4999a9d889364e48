"""What kopf remembers of a deletion handler between two tries, in memory instead of on the object.

kopf keeps this in annotations by default, which every editor of the object can write: a value that cannot be read
stops kopf's work on the object, and a valid one ends or postpones the deletion. Here nothing is read from the object. A
restart begins a deletion again, which is idempotent.

Used by `handlers`, in the settings of kopf. What a deletion does is decided in `controller.reconcile.manager`.
"""

from typing import Any

import kopf

from model_provisioner.domain.annotations import GROUP

_TOUCH_LABEL = f"{GROUP}/tried-at"


class MemoryProgress(kopf.ProgressStorage):
    """The progress of the handlers of each object, by the uid of the object and the id of the handler."""

    def __init__(self) -> None:
        self._records: dict[str, dict[str, kopf.ProgressRecord]] = {}

    def fetch(self, *, key: Any, body: kopf.Body, **_: Any) -> kopf.ProgressRecord | None:
        return self._records.get(body["metadata"]["uid"], {}).get(key)

    def store(self, *, key: Any, record: kopf.ProgressRecord, body: kopf.Body, **_: Any) -> None:
        self._records.setdefault(body["metadata"]["uid"], {})[key] = record

    def purge(self, *, key: Any, body: kopf.Body, **_: Any) -> None:
        uid = body["metadata"]["uid"]
        self._records.get(uid, {}).pop(key, None)
        if not self._records.get(uid):
            self._records.pop(uid, None)

    def delivered(self, kind: str | None, uid: str) -> None:
        """Forgets an object that is gone, also if its finalizer was removed by force."""
        if kind == "DELETED":
            self._records.pop(uid, None)

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None, **_: Any) -> None:
        """Changes the object, so that kopf gets an event at the time of the next try; None removes the mark.

        It is a label, because annotations have a total limit (256 KiB), which an editor may have used up.
        """
        mark = None if value is None else "".join(char if char.isalnum() else "-" for char in value)
        if (body["metadata"].get("labels") or {}).get(_TOUCH_LABEL) != mark:
            patch.metadata.labels[_TOUCH_LABEL] = mark

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        return essence
