"""Converts between the API's camelCase documents and the values of `domain.modeldownload`.

Only this module knows how the fields of the resource are spelled. Unknown fields are ignored, because a later version
of the resource may have more. Known fields must have the right type.
"""

import functools
import logging
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from model_provisioner.domain.annotations import GROUP, RECONCILE_AT, VERIFY_AT
from model_provisioner.domain.lifecycle.credible import why_not_credible
from model_provisioner.domain.modeldownload import MIN_BYTES_PER_SECOND, ModelDownload, Spec, Status
from model_provisioner.domain.quantity import parse_quantity
from model_provisioner.domain.scope import EVERY_NAMESPACE

_LOG = logging.getLogger(__name__)
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
PLURAL = "modeldownloads"
KIND = "ModelDownload"
FINALIZER = f"{GROUP}/operator"
LEASE_NAME = "model-provisioner"

_SPELLING = {"store_id": "storeID"}
_FIELDS = {spelling: field for field, spelling in _SPELLING.items()}
_SPEC = TypeAdapter(Spec)
_STATUS = TypeAdapter(Status)

Document = Mapping[str, Any]
T = TypeVar("T")


_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"  # a copy of the manifest


def drop_unused_fields(metadata: dict[str, Any]) -> None:
    """Removes more than half of a document, which nothing here reads: who wrote which field, and the manifest."""
    metadata.pop("managedFields", None)
    (metadata.get("annotations") or {}).pop(_LAST_APPLIED, None)


def collection_path(namespace: str | None = None) -> str:
    """The URL path of all objects of a namespace, or of the cluster if None."""
    within = f"/namespaces/{namespace}" if namespace else ""
    return f"/apis/{API_VERSION}{within}/{PLURAL}"


def watched_path(namespace: str) -> str:
    """The URL path of the objects of a watched namespace, which may be EVERY_NAMESPACE."""
    return collection_path(None if namespace == EVERY_NAMESPACE else namespace)


def object_path(namespace: str, name: str) -> str:
    return f"{collection_path(namespace)}/{name}"


def lease_collection_path(namespace: str) -> str:
    """The URL path of the Leases of a namespace. The active operator holds the one named LEASE_NAME."""
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"


def pod_collection_path(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def watched_pods_path(namespace: str) -> str:
    """The URL path of the pods of a watched namespace, which may be EVERY_NAMESPACE."""
    return "/api/v1/pods" if namespace == EVERY_NAMESPACE else pod_collection_path(namespace)


def pod_path(namespace: str, name: str) -> str:
    return f"{pod_collection_path(namespace)}/{name}"


def watched_claims_path(namespace: str) -> str:
    """The URL path of the claims of a watched namespace, which may be EVERY_NAMESPACE."""
    within = "" if namespace == EVERY_NAMESPACE else f"/namespaces/{namespace}"
    return f"/api/v1{within}/persistentvolumeclaims"


def claim_path(namespace: str, name: str) -> str:
    return f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"


def scale_path(namespace: str, deployment: str) -> str:
    """The URL path of the subresource of a Deployment that has its number of replicas."""
    return f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}/scale"


def is_being_deleted(metadata: Document) -> bool:
    return metadata.get("deletionTimestamp") is not None


def is_released(metadata: Document) -> bool:
    """Whether the operator is done with an object that is being deleted: it holds no file and no part any more.

    Such an object stays until the finalizers of other programs are removed.
    """
    return is_being_deleted(metadata) and FINALIZER not in (metadata.get("finalizers") or ())


def other_finalizers(metadata: Document) -> list[str]:
    """The finalizers of other programs. Kubernetes lets no client add one to an object that is being deleted."""
    return [finalizer for finalizer in metadata.get("finalizers") or () if finalizer != FINALIZER]


def finalizer_removal(metadata: Document) -> list[Document]:
    """The JSON Patch that removes our finalizer, as often as a client has put it there; empty without it.

    It tests each place first, and no resourceVersion, so that writes to other fields do not conflict with it.
    """
    finalizers = metadata.get("finalizers") or ()
    paths = [f"/metadata/finalizers/{place}" for place, name in enumerate(finalizers) if name == FINALIZER]
    return [
        operation
        for path in reversed(paths)
        for operation in ({"op": "test", "path": path, "value": FINALIZER}, {"op": "remove", "path": path})
    ]


def parse(document: Document) -> ModelDownload:
    """Parses an object. Raises ValueError, which names the wrong field."""
    metadata = document["metadata"]
    annotations = metadata.get("annotations") or {}
    spec = parse_spec(document.get("spec") or {})
    return ModelDownload(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        resource_version=metadata.get("resourceVersion", ""),
        creation_time=metadata.get("creationTimestamp", ""),
        deleting=is_being_deleted(metadata),
        reconcile_at=annotations.get(RECONCILE_AT),
        verify_at=annotations.get(VERIFY_AT),
        spec=spec,
        status=_parse_status(document.get("status") or {}, spec),
    )


def _parse_status(document: Document, spec: Spec) -> Status:
    """Parses a status. A status that cannot be read, as another version or an editor wrote it, becomes an empty one."""
    try:
        status = _validated(_STATUS, _to_fields(document), "status")
        if why := why_not_credible(status, spec):
            raise ValueError(why)
    except ValueError as error:
        _LOG.warning("a status could not be read and is observed anew: %s", error)
        return Status()
    return status


def parse_spec(document: Document) -> Spec:
    """Parses the `spec` of a manifest. Raises ValueError, which names the wrong field.

    A limit below MIN_BYTES_PER_SECOND counts as that: the API server refuses it only in new objects.
    """
    fields = _to_fields(document)
    limit = fields.get("max_bytes_per_second")
    try:
        limit = None if limit is None else max(parse_quantity(limit), MIN_BYTES_PER_SECOND)
    except ValueError as error:
        raise ValueError(f"spec.maxBytesPerSecond: {error}") from None
    return _validated(
        _SPEC,
        fields
        | {
            "max_bytes_per_second": limit,
            "secret_name": (fields.get("credentials_secret_ref") or {}).get("name"),
            "claim_name": (fields.get("destination") or {}).get("claim_name"),
        },
        "spec",
    )


def status_document(status: Status) -> dict[str, Any]:
    """The status as a document, without fields that are None."""
    document: dict[str, Any] = _to_document(asdict(status))
    return document


def _validated(adapter: TypeAdapter[T], fields: Document, what: str) -> T:
    known = {key: value for key, value in fields.items() if value is not None}
    try:
        return adapter.validate_python(known)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join([what, *(_camel(str(part)) for part in first["loc"])])
        raise ValueError(f"{where}: {first['msg']}") from None


def _to_fields(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_snake(key): _to_fields(item) for key, item in value.items()}
    return [_to_fields(item) for item in value] if isinstance(value, list | tuple) else value


def _to_document(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {_camel(key): _to_document(item) for key, item in value.items() if item is not None}
    return [_to_document(item) for item in value] if isinstance(value, list | tuple) else value


@functools.lru_cache(maxsize=256)  # every object has the same few names
def _camel(field: str) -> str:
    head, *tail = field.split("_")
    return _SPELLING.get(field, head + "".join(part.capitalize() for part in tail))


@functools.lru_cache(maxsize=256)
def _snake(spelling: str) -> str:
    plain = "".join(f"_{char.lower()}" if char.isupper() else char for char in spelling)
    return _FIELDS.get(spelling, plain)
