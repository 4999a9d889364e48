"""Makes Helm's server-side apply the only owner of a definition's spec in `metadata.managedFields`. Called by `update`.

Each entry says which fields a client has written, as a tree whose keys are `f:NAME` and the like (FieldsV1, structured
merge diff). Helm 3 creates objects (operation Update), Helm 4 applies them: the API server takes these for two owners.
`kubectl apply --server-side` takes over its own older entries in the same way.
"""

from collections.abc import Iterable, Mapping
from typing import Any

HELM = "helm"
"""The field manager under which Helm 3 and Helm 4 write."""

API_VERSION = "apiextensions.k8s.io/v1"

Fields = Mapping[str, Any]
_SPEC = "f:spec"


def spec_owned_by_helm(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The entries with what each has of the spec moved to that of Helm's apply.

    What other clients have written elsewhere, such as labels and the status, stays theirs.
    """
    fields: Fields = {}
    others = []
    for entry in entries:
        owned = dict(entry.get("fieldsV1", {}))
        if not entry.get("subresource"):
            moved = owned if _is_helms_apply(entry) else {key: value for key, value in owned.items() if key == _SPEC}
            fields = _union(fields, moved)
            owned = {key: value for key, value in owned.items() if key not in moved}
        if owned:
            others.append({**entry, "fieldsV1": owned})
    own = {"manager": HELM, "operation": "Apply", "apiVersion": API_VERSION, "fieldsType": "FieldsV1"}
    return [*others, {**own, "fieldsV1": fields}]


def _is_helms_apply(entry: Mapping[str, Any]) -> bool:
    return (entry.get("manager"), entry.get("operation")) == (HELM, "Apply")


def _union(one: Fields, other: Fields) -> Fields:
    return {key: _union(one.get(key, {}), other.get(key, {})) for key in [*one, *(set(other) - set(one))]}
