"""The models that the ConfigMap of one engine must list, kept in memory. No I/O.

Called by `controller.catalog.namespace_catalog`; `controller.catalog.writer` reads `data` and writes it to the
ConfigMap. What a section says, and which models have no place, is decided in `domain.engines`.
"""

import logging

from model_provisioner.domain.engines.documents import Section, documents, section
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.modeldownload import Model, ModelDownload

_LOG = logging.getLogger(__name__)


class EngineRows:
    """The section of each ready model, by the name of its object, with the creation time and the uid of that object.

    `mount_path` is where the engine mounts each claim.
    """

    def __init__(self, engine: Engine, mount_path: str) -> None:
        self._engine = engine
        self._mount_path = mount_path
        self._sections: dict[str, tuple[str, str, Section]] = {}
        self._data: dict[str, str] | None = {}  # None: made anew when it is read

    def put(self, download: ModelDownload, model: Model) -> bool:
        """Adds the object or replaces its section. Returns True if `data` may have changed."""
        made = section(self._engine, download.name, model, self._mount_path)
        new = download.creation_time, download.uid, made
        if new == self._sections.get(download.name):
            return False
        if made.left_out:
            _LOG.warning(
                "%s/%s is left out of the ConfigMap %s: %s",
                download.namespace,
                download.name,
                self._engine.config_map_name,
                made.left_out,
            )
        self._sections[download.name] = new
        self._data = None
        return True

    def take(self, name: str, uid: str) -> bool:
        """Removes the object. Returns True if it was there; another object of the same name stays."""
        if name not in self._sections or self._sections[name][1] != uid:
            return False
        del self._sections[name]
        self._data = None
        return True

    @property
    def is_empty(self) -> bool:
        return not self.data

    @property
    def data(self) -> dict[str, str]:
        """The `data` of the ConfigMap. Older objects have their place first."""
        if self._data is None:
            by_age = sorted((created, name) for name, (created, _, _) in self._sections.items())
            self._data = documents(self._engine, (self._sections[name][2] for _, name in by_age))
        return self._data
