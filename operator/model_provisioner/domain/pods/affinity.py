"""Narrows the node affinity of a gated pod to one node, as far as the API server allows it.

A volume that only one node can mount is mounted by the operator's pod. A pod that uses it must run on that node, and
the scheduler does not always know that: a local path is no topology. Called by `domain.pods.patch`; which claims are
such is read in `controller.gates.claims`.

The rules are those of Kubernetes for pods with scheduling gates (KEP-3838, `validateNodeAffinityMutation`): without
required terms, any may be set; otherwise no term is added or removed, and each may only get further requirements, which
hold in addition to its own. A term without requirements matches no node and must stay empty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Operation = Mapping[str, object]
"""One operation of a JSON Patch (RFC 6902)."""

_AFFINITY = "/spec/affinity"
_NODE = f"{_AFFINITY}/nodeAffinity"
_REQUIRED = f"{_NODE}/requiredDuringSchedulingIgnoredDuringExecution"


@dataclass(frozen=True, slots=True)
class Term:
    """How many requirements a required term has, by labels and by fields of the node."""

    expressions: int
    fields: int


@dataclass(frozen=True, slots=True)
class Affinity:
    """What is there below a pod's `spec.affinity`. `terms` are the required ones, None without a list of them."""

    is_set: bool = False
    has_node_affinity: bool = False
    terms: tuple[Term, ...] | None = None


def read_affinity(spec: Mapping[str, Any]) -> Affinity:
    """Of the `spec` of a pod."""
    affinity = spec.get("affinity")
    node = (affinity or {}).get("nodeAffinity")
    required = (node or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return Affinity(affinity is not None, node is not None)
    terms = (
        Term(len(term.get("matchExpressions") or ()), len(term.get("matchFields") or ()))
        for term in required.get("nodeSelectorTerms") or ()
    )
    return Affinity(is_set=True, has_node_affinity=True, terms=tuple(terms))


def narrowing(affinity: Affinity, node: str) -> list[Operation]:
    """The operations that require `node`, the name of a node, in addition to what the pod requires already.

    A `test` for null holds if nothing is there: the API server applies patches with evanphx/json-patch.
    """
    here = {"key": "metadata.name", "operator": "In", "values": [node]}
    required = {"nodeSelectorTerms": [{"matchFields": [here]}]}
    if not affinity.is_set:
        return _added(_AFFINITY, {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}})
    if not affinity.has_node_affinity:
        return _added(_NODE, {"requiredDuringSchedulingIgnoredDuringExecution": required})
    if not affinity.terms:
        return _added(_REQUIRED, required) if affinity.terms is None else []
    operations: list[Operation] = []
    for place, term in enumerate(affinity.terms):
        path = f"{_REQUIRED}/nodeSelectorTerms/{place}/matchFields"
        if term.fields:
            operations.append({"op": "add", "path": f"{path}/-", "value": here})
        elif term.expressions:
            operations += _added(path, [here])
    return operations


def _added(path: str, value: object) -> list[Operation]:
    return [{"op": "test", "path": path, "value": None}, {"op": "add", "path": path, "value": value}]
