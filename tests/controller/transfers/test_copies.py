"""What a worker pod is offered: what a volume confirms, and what the source gives to the object's credentials."""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from model_provisioner.controller.stores.object_index import ObjectIndex, PublishedCopy, trim
from model_provisioner.controller.transfers.copies import NOTHING, Copies, Offer
from model_provisioner.controller.workers.door.grants import Grants, Stored
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import AccessDenied
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol.messages import ProveAccess
from tests.support.models import plan_of, sample

MODELS, FORGED = Claim("ai", "models"), Claim("evil", "models")
FILE = replace(sample().planned, digest_published=True)
PLAN = replace(plan_of(), files=(FILE,))
CREDENTIALS = Credentials("hf_good", ("https://hub.test",))
POD = object()
MIB = 1024**2


class Cluster:
    """`claims` seem to have the file, and `there` have it. The source accepts CREDENTIALS alone."""

    def __init__(self, claims: list[Claim], there: Collection[Claim]) -> None:
        self.claims = claims
        self.there = there
        self.confirmed: list[Claim] = []
        self.proved: list[ProveAccess] = []
        self.grants = Grants()
        self.copies = Copies(self.find, self.confirms, self.prove, self.grants)

    def find(self, file: PlannedFile) -> list[PublishedCopy]:
        return [PublishedCopy(claim, "store", f"{claim.namespace}/{file.path}") for claim in self.claims]

    async def confirms(self, stored: Stored) -> bool:
        self.confirmed.append(stored.claim)
        return stored.claim in self.there

    async def prove(self, request: ProveAccess) -> None:
        self.proved.append(request)
        if request.credentials != CREDENTIALS:
            raise AccessDenied("refused")


async def test_a_copy_is_offered_while_the_fetch_runs() -> None:
    cluster = Cluster([MODELS], {MODELS})
    async with cluster.copies.offered(PLAN, CREDENTIALS, None, POD) as offer:
        assert offer.origin == "from the cluster: claim ai/models"
        (copy,) = offer.copies
        assert copy.path == FILE.path
        grant = cluster.grants.find(copy.grant, POD)
        assert grant
        assert grant.stored == Stored(MODELS, "store", replace(FILE, path=f"ai/{FILE.path}"))
        assert cluster.grants.find(copy.grant, object()) is None
        assert copy.grant not in repr(offer)
    assert cluster.grants.find(copy.grant, POD) is None


@pytest.mark.parametrize("credentials", [None, Credentials("hf_bad", ("https://hub.test",))])
async def test_nothing_is_offered_to_credentials_that_the_source_refuses(credentials: Credentials | None) -> None:
    cluster = Cluster([MODELS], {MODELS})
    async with cluster.copies.offered(PLAN, credentials, None, POD) as offer:
        assert offer is NOTHING
    assert [request.credentials for request in cluster.proved] == [credentials]


async def test_a_status_that_no_volume_confirms_is_passed_over_and_the_source_is_not_asked_for_it() -> None:
    cluster = Cluster([FORGED, MODELS], {MODELS})
    async with cluster.copies.offered(PLAN, CREDENTIALS, None, POD) as offer:
        assert offer.origin.endswith("ai/models")
    cluster = Cluster([FORGED] * 100, ())
    async with cluster.copies.offered(PLAN, CREDENTIALS, None, POD) as offer:
        assert offer is NOTHING
    assert (len(cluster.confirmed), cluster.proved) == (3, [])


@pytest.mark.parametrize(
    ("plan", "limit"),
    [
        (PLAN, MIB - 1),
        (replace(PLAN, files=(replace(FILE, digest=None),)), None),
        (replace(PLAN, files=(replace(FILE, digest_published=False),)), None),
    ],
    ids=["a low limit", "no digest", "a digest that the source does not publish"],
)
async def test_some_fetches_are_offered_nothing(plan: Plan, limit: int | None) -> None:
    cluster = Cluster([MODELS], {MODELS})
    async with cluster.copies.offered(plan, CREDENTIALS, limit, POD) as offer:
        assert offer is NOTHING
    assert (cluster.confirmed, cluster.proved) == ([], [])


def test_the_message_says_how_much_was_copied() -> None:
    offer = Offer((), "from the cluster: claim ai/models")
    assert offer.origin_of(0, 5) == ""
    assert offer.origin_of(5, 5) == "from the cluster: claim ai/models"
    assert offer.origin_of(4, 5) == "in part from the cluster: claim ai/models"


class Documents:
    def __init__(self, *documents: dict[str, Any]) -> None:
        self._documents = documents

    def objects(self) -> list[dict[str, Any]]:
        return [trim(document) for document in self._documents]


def seen(claim: Claim, path: str = FILE.path, ready: str = "True", digest: str = str(FILE.digest)) -> dict[str, Any]:
    files = [{"path": path, "sizeBytes": FILE.size, "digest": digest}]
    model = {"claimName": claim.name, "storeID": "store", "files": files}
    metadata = {"namespace": claim.namespace, "name": "n", "uid": "u", "resourceVersion": "1"}
    return {"metadata": metadata, "status": {"conditions": [{"type": "Ready", "status": ready}], "model": model}}


def test_a_file_is_found_by_its_digest_on_the_claims_of_the_operator() -> None:
    other = Claim("team", "own")
    documents = (
        seen(MODELS, "elsewhere.gguf"),
        seen(MODELS),
        seen(MODELS),
        seen(MODELS, "not-ready.gguf", ready="False"),
        seen(MODELS, "different.gguf", digest="sha256:" + "0" * 64),
        seen(other),
    )
    index = ObjectIndex(["*"], [Documents(*documents)])
    found = index.copies({MODELS}, str(FILE.digest), FILE.path)
    assert [copy.path for copy in found] == [FILE.path, "elsewhere.gguf"], "first where most have it"
    assert {copy.claim for copy in found} == {MODELS}
