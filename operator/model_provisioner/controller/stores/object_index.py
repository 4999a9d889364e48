"""All objects of the watched namespaces, as the operator's own watches have them.

Complete, unlike the running lifecycles, from the first list on: what is not in here is gone. The
garbage_collector asks who is there, and `stores` on which stores they were recorded; nothing is written from here.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from model_provisioner.domain.store.claim import Claim


class Lister(Protocol):
    """What is used of a `kube.reflector.Reflector` that is synced."""

    def objects(self) -> Iterable[Mapping[str, Any]]: ...


class ObjectIndex:
    """`namespaces` are those of `listers`."""

    def __init__(self, namespaces: Sequence[str], listers: Sequence[Lister]) -> None:
        self.namespaces = tuple(namespaces)
        self._listers = listers

    def uids(self) -> frozenset[str]:
        """Every object that there is."""
        return frozenset(document["metadata"]["uid"] for lister in self._listers for document in lister.objects())

    def store_ids(self, claim: Claim, exclude_uid: str | None = None) -> frozenset[str]:
        """The stores on which objects with files on `claim` have been recorded; more than one if it was exchanged.

        The object with the uid `exclude_uid` is left out.
        """
        documents = (document for lister in self._listers for document in lister.objects())
        ids = (_store_id(document, claim) for document in documents if document["metadata"]["uid"] != exclude_uid)
        return frozenset(store_id for store_id in ids if store_id)


def trim(document: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of a document here; there may be ten thousand of them."""
    metadata, model = document["metadata"], (document.get("status") or {}).get("model") or {}
    return {
        "metadata": {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")},
        "status": {"model": {key: model[key] for key in ("claimName", "storeID") if key in model}},
    }


def _store_id(document: Mapping[str, Any], claim: Claim) -> str | None:
    model = (document.get("status") or {}).get("model") or {}
    recorded = Claim(document["metadata"]["namespace"], model.get("claimName", ""))
    return model.get("storeID") if recorded == claim else None
