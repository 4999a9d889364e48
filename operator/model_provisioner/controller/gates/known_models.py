"""The ModelDownloads of one namespace, as far as pods may ask for them. In memory, from the watch of the operator.

Filled by `controller.gates.gates`, read by `namespace_gates`. Which object a name or a ref means is decided in
`domain.pods.lookup`.
"""

import logging
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.pods.lookup import (
    Found,
    find,
    is_same_for_pods,
    keys_of_download,
    keys_of_wanted,
    trimmed,
)
from model_provisioner.domain.pods.wanted import Wanted
from model_provisioner.kube.resource import parse

_LOG = logging.getLogger(__name__)


class KnownModels:
    """Every object by the keys of `domain.pods.lookup`, trimmed: there may be ten thousand."""

    def __init__(self) -> None:
        self._downloads: dict[str, ModelDownload] = {}
        self._names: dict[str, set[str]] = defaultdict(set)

    def on_event(self, kind: str, document: Mapping[str, Any]) -> frozenset[str]:
        """Takes in an event of the watch. Returns the keys of the pods that it concerns; none if nothing matters."""
        before = self._downloads.pop(document["metadata"]["name"], None)
        old = keys_of_download(before) if before else frozenset[str]()
        if before and kind == "DELETED" and before.uid != document["metadata"]["uid"]:
            self._downloads[before.name] = before  # the event of an earlier object of that name
            return frozenset()
        now = None if kind == "DELETED" else _read(document)
        new = keys_of_download(now) if now else frozenset[str]()
        self._forget(old - new, document["metadata"]["name"])
        if now is None:
            return old
        self._downloads[now.name] = now
        for key in new:
            self._names[key].add(now.name)
        return frozenset() if before and is_same_for_pods(before, now) else old | new

    def find(self, wanted: Wanted, claims: frozenset[str]) -> Found:
        """What a pod that mounts `claims` means by `wanted`."""
        names = {name for key in keys_of_wanted(wanted) for name in self._names.get(key, ())}
        return find(wanted, [self._downloads[name] for name in sorted(names)], claims)

    def has(self, name: str) -> bool:
        return name in self._downloads

    def count(self) -> int:
        return len(self._downloads)

    def _forget(self, keys: frozenset[str], name: str) -> None:
        for key in keys:
            self._names[key].discard(name)
            if not self._names[key]:
                del self._names[key]


def _read(document: Mapping[str, Any]) -> ModelDownload | None:
    try:
        return trimmed(parse(document))
    except ValueError as error:
        _LOG.warning("an object could not be read, no pod can use it: %s", error)
        return None
