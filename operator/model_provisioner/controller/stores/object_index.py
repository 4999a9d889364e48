"""All objects of the watched namespaces, as the reflectors have them. Read-only.

Complete from the first list on: an object that is not in here is deleted. `controller.stores.garbage_collector` reads
which objects exist; `controller.stores.store_client` and `controller.stores.usage` read the recorded store ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from model_provisioner.domain.store.claim import Claim


class Lister(Protocol):
    """What the index needs of a `kube.reflector.Reflector`, which must be synced."""

    def objects(self) -> Iterable[Mapping[str, Any]]: ...


class ObjectIndex:
    """`listers` have the objects of `namespaces`."""

    def __init__(self, namespaces: Sequence[str], listers: Sequence[Lister]) -> None:
        self.namespaces = tuple(namespaces)
        self._listers = listers

    def uids(self) -> frozenset[str]:
        """The uids of all objects."""
        return frozenset(document["metadata"]["uid"] for lister in self._listers for document in lister.objects())

    def store_ids(self, claim: Claim, exclude_uid: str | None = None) -> frozenset[str]:
        """The store ids in the status of all objects with a model on `claim`, except the object `exclude_uid`.

        More than one if the volume of the claim was exchanged.
        """
        documents = (document for lister in self._listers for document in lister.objects())
        ids = (_store_id(document, claim) for document in documents if document["metadata"]["uid"] != exclude_uid)
        return frozenset(store_id for store_id in ids if store_id)


def trim(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of `document` that the index reads, to save memory: there may be ten thousand objects."""
    metadata, model = document["metadata"], (document.get("status") or {}).get("model") or {}
    return {
        "metadata": {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")},
        "status": {"model": {key: model[key] for key in ("claimName", "storeID") if key in model}},
    }


def _store_id(document: Mapping[str, Any], claim: Claim) -> str | None:
    model = (document.get("status") or {}).get("model") or {}
    recorded = Claim(document["metadata"]["namespace"], model.get("claimName", ""))
    return model.get("storeID") if recorded == claim else None
