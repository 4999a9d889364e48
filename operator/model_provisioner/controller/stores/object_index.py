"""The objects of the watched namespaces, as the reflectors have them. Read-only.

Complete from the first list on: an object that is not in here is deleted, or it is being deleted and released. Such
an object may stay for as long as another program's finalizer is on it, but it holds nothing, so it counts as gone.

`controller.stores.garbage_collector` reads which objects exist; `controller.stores.store_client` and
`controller.stores.usage` read the recorded store ids.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.resource import is_released

_DELETION = ("deletionTimestamp", "finalizers")


class Lister(Protocol):
    """What the index needs of a `kube.reflector.Reflector`, which must be synced."""

    def objects(self) -> Iterable[Mapping[str, Any]]: ...


class ObjectIndex:
    """`listers` have the objects of `namespaces`."""

    def __init__(self, namespaces: Sequence[str], listers: Sequence[Lister]) -> None:
        self.namespaces = tuple(namespaces)
        self._listers = listers

    def uids(self) -> frozenset[str]:
        """The uids of all objects that may hold something."""
        return frozenset(document["metadata"]["uid"] for document in self._objects())

    def store_ids(self, claim: Claim, exclude_uid: str | None = None) -> frozenset[str]:
        """The store ids in the status of all objects with a model on `claim`, except the object `exclude_uid`.

        More than one if the volume of the claim was exchanged.
        """
        documents = (document for document in self._objects() if document["metadata"]["uid"] != exclude_uid)
        ids = (_store_id(document, claim) for document in documents)
        return frozenset(store_id for store_id in ids if store_id)

    def _objects(self) -> Iterator[Mapping[str, Any]]:
        documents = (document for lister in self._listers for document in lister.objects())
        return (document for document in documents if not is_released(document["metadata"]))


def trim(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of `document` that the index reads, to save memory: there may be ten thousand objects."""
    metadata, model = document["metadata"], (document.get("status") or {}).get("model") or {}
    deletion = _DELETION if "deletionTimestamp" in metadata else ()
    return {
        "metadata": {
            key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion", *deletion) if key in metadata
        },
        "status": {"model": {key: model[key] for key in ("claimName", "storeID") if key in model}},
    }


def _store_id(document: Mapping[str, Any], claim: Claim) -> str | None:
    model = (document.get("status") or {}).get("model") or {}
    recorded = Claim(document["metadata"]["namespace"], model.get("claimName", ""))
    return model.get("storeID") if recorded == claim else None
