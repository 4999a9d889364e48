"""The models that the catalog of one namespace must list, kept in memory. No I/O.

Decides whether a further model fits. Called by `controller.catalog.namespace_catalog`; `controller.catalog.writer`
reads `data` and writes it to the ConfigMap.
"""

from model_provisioner.domain.catalog import Entry, Rows, refusal, rows, size
from model_provisioner.domain.modeldownload import Model, ModelDownload

_NO_ENTRY: tuple[str, Rows] = ("", {})


class CatalogRows:
    """The rows of each ready model, by the name of its object, with the uid of that object."""

    def __init__(self) -> None:
        self._entries: dict[str, tuple[str, Rows]] = {}
        self._size = 0

    def holds(self, name: str, uid: str) -> bool:
        return self._entries.get(name, _NO_ENTRY)[0] == uid

    def refusal(self, download: ModelDownload, model: Model) -> str | None:
        """Why `model` does not fit, as the end of a message; None if it fits.

        An object that is listed already always fits, also if its new rows are longer.
        """
        if self.holds(download.name, download.uid):
            return None
        return refusal(len(self._entries), self._size, size([_rows(download, model)]))

    def put(self, download: ModelDownload, model: Model) -> bool:
        """Adds the object or replaces its rows, also if there is no room. Returns True if that changed `data`."""
        new = download.uid, _rows(download, model)
        old = self._entries.get(download.name, _NO_ENTRY)
        if new == old:
            return False
        self._entries[download.name] = new
        self._size += size([new[1]]) - size([old[1]])
        return True

    def take(self, name: str, uid: str) -> bool:
        """Removes the object. Returns True if it was listed; another object of the same name stays."""
        if not self.holds(name, uid):
            return False
        _, old = self._entries.pop(name)
        self._size -= size([old])
        return True

    @property
    def is_empty(self) -> bool:
        return not self._entries

    @property
    def data(self) -> dict[str, str]:
        """The `data` of the ConfigMap."""
        return {key: value for name in sorted(self._entries) for key, value in self._entries[name][1].items()}


def _rows(download: ModelDownload, model: Model) -> Rows:
    return rows(download.name, Entry(download.spec.model_ref, model, download.spec.endpoint))
