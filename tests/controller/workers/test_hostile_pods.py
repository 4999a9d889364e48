"""What a worker pod that a tenant has taken over learns, and what it can do to others: nothing outside of its claim.

On a real API server, with two namespaces that have a claim each. What a pod may say at all is in `door`.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from tests.support.pod_node import PodNode
from tests.support.programs import eventually, free_port
from tests.support.stand import Stand

REF = "hf:acme/tiny"


class Tenant:
    """A namespace with the claim `team`, and a Secret with a token of its own."""

    def __init__(self, bench: Stand, node: PodNode, claim: Path) -> None:
        self.bench = bench
        self.node = node
        self.claim = claim
        self.token = f"canary.{bench.namespace}."
        bench.hub.tokens.add(self.token)
        bench.secret("hub", {"token": self.token})

    def apply(self, name: str, **spec: Any) -> None:
        self.bench.apply(
            name, modelRef=REF, destination={"claimName": "team"}, credentialsSecretRef={"name": "hub"}, **spec
        )

    @property
    def asked(self) -> list[dict[str, Any]]:
        """What the operator has asked its pod."""
        return [json.loads(line) for line in (self.claim / "asked").read_text().splitlines()]

    def is_asked_for_all(self) -> bool:
        return {request["op"] for request in self.asked} >= {"settle", "fetch", "sweep", "verify"}


@pytest.fixture
def tenants(bench: Stand, cluster: Cluster, tmp_path: Path) -> Iterator[tuple[Tenant, Tenant]]:
    """Both are served by one operator, which mounts a claim of the first namespace. The pods are hostile."""
    address = f"127.0.0.1:{free_port()}"
    with ExitStack() as closing:
        other = closing.enter_context(bench.neighbour(f"{bench.namespace}-other"))
        found = []
        for one in (bench, other):
            directory = tmp_path / f"of-{one.namespace}"
            claim = directory / "team"
            claim.mkdir(parents=True)
            node = closing.enter_context(PodNode(cluster, one.namespace, directory, {"team": claim}))
            node.module = "tests.support.hostile_worker"
            found.append(Tenant(one, node, claim))
        bench.start_operator(
            *(f"--watch-namespace={one.bench.namespace}" for one in found),
            f"--worker-listen={address}",
            f"--worker-connect={address}",
            "--worker-image=example/mp:1",
        )
        yield found[0], found[1]
        bench.stop()


def test_a_pod_learns_nothing_of_another_namespace(tenants: tuple[Tenant, Tenant]) -> None:
    uids = []
    for tenant in tenants:
        tenant.apply("tiny")
        uids.append(tenant.bench.until("tiny", "Available")["metadata"]["uid"])
    for tenant, other, uid in zip(tenants, reversed(tenants), uids, strict=True):
        tenant.bench.patch("tiny", annotations={"models.rbee.dev/verifyAt": "now"})
        eventually(tenant.is_asked_for_all, "it is asked for everything")
        said = json.dumps(tenant.asked)
        assert tenant.token in said
        assert uid in said
        for secret in (other.token, f"{other.bench.namespace}/", *(found for found in uids if found != uid)):
            assert secret not in said


def test_a_pod_that_tells_of_a_limit_holds_back_its_own_claim_alone(tenants: tuple[Tenant, Tenant]) -> None:
    hostile, other = tenants
    (hostile.claim / "limited").touch()
    hostile.bench.apply("tiny", modelRef=REF, destination={"claimName": "team"})
    hostile.bench.until("tiny", "RateLimited")
    hostile.bench.apply("own", modelRef=REF)
    other.bench.apply("tiny", modelRef=REF, destination={"claimName": "team"})
    for stand, name in ((hostile.bench, "own"), (other.bench, "tiny")):
        stand.until(name, "Available")
        seen = [str(version.get("status")) for version in stand.history.of(name)]
        assert not [status for status in seen if "RateLimited" in status]
    assert hostile.bench.ready("tiny")["reason"] == "RateLimited"
