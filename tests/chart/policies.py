"""What NetworkPolicies allow, by the rules of networking.k8s.io/v1. Called by the tests of the chart.

The control plane of the tests has no network plugin, so this judges the policies themselves: a connection is allowed if
no policy selects the pod in that direction, or if a rule of one that does allows it. `endPort` is not known here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

from tests.chart.rendering import NAMESPACE

Labels = Mapping[str, str]
Document = Mapping[str, Any]


@dataclass(frozen=True)
class Peer:
    """The other end: an address of no pod, or a pod with `labels` in the namespace of that name."""

    address: str = ""
    namespace: str = ""
    labels: Labels = field(default_factory=dict)


@dataclass(frozen=True)
class Pod:
    """One end: its labels, and the numbers of its named ports."""

    labels: Labels
    ports: Mapping[str, int]


def may_connect(policies: Iterable[Document], pod: Pod, peer: Peer, port: int, protocol: str = "TCP") -> bool:
    """Whether `pod` may open a connection to `port` of `peer`."""
    return _allowed(policies, pod, "egress", peer, (protocol, port))


def may_be_reached(policies: Iterable[Document], pod: Pod, peer: Peer, port: int) -> bool:
    """Whether `peer` may open a connection to `port` of `pod`."""
    return _allowed(policies, pod, "ingress", peer, ("TCP", port))


def _allowed(policies: Iterable[Document], pod: Pod, direction: str, peer: Peer, wanted: tuple[str, int]) -> bool:
    key = {"egress": "to", "ingress": "from"}[direction]
    specs = [policy["spec"] for policy in policies]
    chosen = [s for s in specs if direction.title() in s["policyTypes"] and _selects(s["podSelector"], pod.labels)]
    rules = [rule for spec in chosen for rule in spec.get(direction, ())]
    return not chosen or any(_has_port(rule, pod, wanted) and _has_peer(rule.get(key), peer) for rule in rules)


def _has_port(rule: Document, pod: Pod, wanted: tuple[str, int]) -> bool:
    """A rule without ports is for all; a port without a number is every port of its protocol."""
    return "ports" not in rule or any(
        (one.get("protocol", "TCP"), pod.ports.get(str(one.get("port")), one.get("port", wanted[1]))) == wanted
        for one in rule["ports"]
    )


def _has_peer(peers: Iterable[Document] | None, peer: Peer) -> bool:
    """A rule without peers is for all."""
    return peers is None or any(_is_peer(one, peer) for one in peers)


def _is_peer(rule: Document, peer: Peer) -> bool:
    if "ipBlock" in rule:
        return bool(peer.address) and _contains(rule["ipBlock"], peer.address)
    here = {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}  # without a selector: the policy's own namespace
    there = {"kubernetes.io/metadata.name": peer.namespace}
    return (
        bool(peer.namespace)
        and _selects(rule.get("namespaceSelector", here), there)
        and _selects(rule.get("podSelector", {}), peer.labels)
    )


def _contains(block: Document, address: str) -> bool:
    one = ip_address(address)
    return one in ip_network(block["cidr"]) and not any(one in ip_network(hole) for hole in block.get("except", ()))


def _selects(selector: Document, labels: Labels) -> bool:
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        {"In": labels.get(one["key"]) in one["values"]}[one["operator"]] for one in selector.get("matchExpressions", ())
    )
