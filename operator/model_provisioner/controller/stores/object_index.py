"""The objects of the watched namespaces, as the reflectors have them. Read-only.

Complete from the first list on: an object that is not in here is deleted, or it is being deleted and released. Such
an object may stay for as long as another program's finalizer is on it, but it holds nothing, so it counts as gone.

`controller.stores.garbage_collector` reads which objects exist; `controller.stores.record_keeper` reads which are
Ready; `controller.stores.store_client` and
`controller.stores.usage` read the recorded store ids; `controller.transfers.copies` reads where a file is published.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.scope import EVERY_NAMESPACE, covers, is_everywhere
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.holders import Holder, Holding
from model_provisioner.kube.resource import is_released

_DELETION = ("deletionTimestamp", "finalizers")
_READY = ({"type": "Ready", "status": "True"},)  # one for all trimmed documents


@dataclass(frozen=True, slots=True)
class PublishedCopy:
    """Where a file is published: its `path` on `claim`, in the store `store_id`. Only the volume can confirm it."""

    claim: Claim
    store_id: str
    path: str


class Lister(Protocol):
    """What the index needs of a `kube.reflector.Reflector`, which must be synced."""

    def objects(self) -> Iterable[Mapping[str, Any]]: ...


class ObjectIndex:
    """`listers` have the objects of `namespaces`, of which "*" means all."""

    def __init__(self, namespaces: Sequence[str], listers: Sequence[Lister]) -> None:
        self.namespaces = tuple(namespaces)
        self._listers = listers

    def served(self) -> tuple[str, ...]:
        """The names of the served namespaces; if these are all, of those that have objects."""
        if not is_everywhere(self.namespaces):
            return self.namespaces
        documents = (document for lister in self._listers for document in lister.objects())
        return tuple(sorted({document["metadata"]["namespace"] for document in documents}))

    def uids(self, namespaces: Collection[str] = (EVERY_NAMESPACE,)) -> frozenset[str]:
        """The uids of all objects of `namespaces` that may hold something."""
        return frozenset(document["metadata"]["uid"] for document in self._objects(namespaces))

    def names(self, namespaces: Collection[str] = (EVERY_NAMESPACE,)) -> frozenset[str]:
        """The names of all objects of `namespaces` that may hold something, as `namespace/name`."""
        metadata = (document["metadata"] for document in self._objects(namespaces))
        return frozenset(f"{found['namespace']}/{found['name']}" for found in metadata)

    def ready(self, claim: Claim) -> Iterator[Holding]:
        """The files of each object on `claim` that is Ready and is not being deleted, as of this call."""
        documents = (document for lister in self._listers for document in lister.objects())
        return map(_holding, [found for found in documents if _is_on(claim, found) and _is_kept(found)])

    def copies(self, claims: Collection[Claim], digest: str, path: str) -> list[PublishedCopy]:
        """Where Ready objects on `claims` have a file with `digest`; first those at `path`, which most have it at."""
        documents = (document for lister in self._listers for document in lister.objects() if _is_kept(document))
        found = {
            PublishedCopy(claim, str(_model(document).get("storeID")), str(file["path"])): None
            for document in documents
            for file in _model(document).get("files") or ()
            if file.get("digest") == digest and (claim := _claim(document)) in claims
        }
        return sorted(found, key=lambda copy: copy.path != path)

    def store_ids(self, claim: Claim, exclude_uid: str | None = None) -> frozenset[str]:
        """The store ids in the status of all objects with a model on `claim`, except the object `exclude_uid`.

        More than one if the volume of the claim was exchanged.
        """
        documents = (document for lister in self._listers for document in lister.objects() if _is_on(claim, document))
        kept = (found for found in documents if found["metadata"]["uid"] != exclude_uid)
        ids = (_model(found).get("storeID") for found in kept if not is_released(found["metadata"]))
        return frozenset(store_id for store_id in ids if store_id)

    def _objects(self, namespaces: Collection[str]) -> Iterator[Mapping[str, Any]]:
        documents = (document for lister in self._listers for document in lister.objects())
        found = ((document, document["metadata"]) for document in documents)
        return (document for document, one in found if covers(namespaces, one["namespace"]) and not is_released(one))


def trim(document: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of `document` that the index reads, to save memory: there may be ten thousand objects."""
    metadata, model = document["metadata"], _model(document)
    is_kept = _is_kept(document)
    fields = ("claimName", "storeID", "revision", "files") if is_kept else ("claimName", "storeID")
    deletion = _DELETION if "deletionTimestamp" in metadata else ()
    kept = ("namespace", "name", "uid", "resourceVersion", *deletion)
    return {
        "metadata": {key: metadata[key] for key in kept if key in metadata},
        "status": {
            "conditions": _READY if is_kept else (),
            "model": {key: model[key] for key in fields if key in model},
        },
    }


def _is_kept(document: Mapping[str, Any]) -> bool:
    """Whether the object is Ready and is not being deleted."""
    conditions = (document.get("status") or {}).get("conditions") or ()
    ready = any((found.get("type"), found.get("status")) == ("Ready", "True") for found in conditions)
    return ready and "deletionTimestamp" not in document["metadata"]


def _holding(document: Mapping[str, Any]) -> Holding:
    metadata, model = document["metadata"], _model(document)
    files = (FileRecord(file["path"], file["sizeBytes"], file.get("digest")) for file in model.get("files") or ())
    holder = Holder(metadata["uid"], metadata["namespace"], metadata["name"])
    return Holding(holder, model.get("revision"), tuple(files))


def _is_on(claim: Claim, document: Mapping[str, Any]) -> bool:
    if document["metadata"]["namespace"] != claim.namespace:  # as of most objects
        return False
    return bool(_model(document).get("claimName", "") == claim.name)


def _claim(document: Mapping[str, Any]) -> Claim:
    return Claim(document["metadata"]["namespace"], str(_model(document).get("claimName", "")))


def _model(document: Mapping[str, Any]) -> Mapping[str, Any]:
    model: Mapping[str, Any] = (document.get("status") or {}).get("model") or {}
    return model
