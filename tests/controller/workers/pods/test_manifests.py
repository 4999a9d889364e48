"""The Job of a worker pod on the node that its placement names."""

from typing import Any

import pytest

from model_provisioner.controller.workers.pods.manifests import JobSettings, PodTemplate, job_manifest
from model_provisioner.domain.scheduling.placement import Placement
from model_provisioner.domain.store.claim import Claim

Document = dict[str, Any]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
ON_N1 = {"key": "metadata.name", "operator": "In", "values": ["n1"]}
ON_N2 = {"key": "metadata.name", "operator": "NotIn", "values": ["n2"]}
PREFERRED = {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": {}}]}
ZONE_A, ZONE_B = ({"matchExpressions": [{"key": "zone", "operator": "In", "values": [zone]}]} for zone in "ab")


def manifest(affinity: Document | None, placement: Placement) -> Document:
    template = PodTemplate(spec={"affinity": affinity} if affinity else {}, security_context={"runAsUser": 10001})
    settings = JobSettings("mp", "image", "Always", "mp:8443", (), "1", template=template)
    return job_manifest(settings, Claim("team-a", "models"), "a token", placement)


def pod(job: Document) -> Document:
    found: Document = job["spec"]["template"]["spec"]
    return found


@pytest.mark.parametrize(
    ("affinity", "terms"),
    [
        (None, [{"matchFields": [ON_N1]}]),
        ({"nodeAffinity": PREFERRED}, [{"matchFields": [ON_N1]}]),
        ({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [ZONE_A]}}}, [{**ZONE_A, "matchFields": [ON_N1]}]),
        (
            {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [ZONE_A, {**ZONE_B, "matchFields": [ON_N2]}]}}},
            [{**ZONE_A, "matchFields": [ON_N1]}, {**ZONE_B, "matchFields": [ON_N2, ON_N1]}],
        ),
    ],
    ids=["no affinity", "a preference", "one term", "two terms, each is enough"],
)
def test_each_term_of_the_affinity_is_narrowed_to_the_node(affinity: Document | None, terms: list[Document]) -> None:
    by_node = pod(manifest(affinity, Placement("n1")))["affinity"]["nodeAffinity"]
    assert by_node[REQUIRED] == {"nodeSelectorTerms": terms}


def test_what_else_the_affinity_says_stays() -> None:
    apart = {"podAntiAffinity": {REQUIRED: [{"topologyKey": "zone"}]}}
    narrowed = pod(manifest({**apart, "nodeAffinity": PREFERRED}, Placement("n1")))["affinity"]
    assert narrowed["podAntiAffinity"] == apart["podAntiAffinity"]
    assert narrowed["nodeAffinity"].items() >= PREFERRED.items()


def test_without_a_node_the_affinity_is_that_of_the_template() -> None:
    assert "affinity" not in pod(manifest(None, Placement()))
    assert pod(manifest({"nodeAffinity": PREFERRED}, Placement()))["affinity"] == {"nodeAffinity": PREFERRED}


def test_the_users_of_the_claim_replace_those_of_the_template() -> None:
    security = pod(manifest(None, Placement(users={"runAsUser": 1000, "fsGroup": 7})))["securityContext"]
    assert (security["runAsUser"], security["fsGroup"], security["runAsNonRoot"]) == (1000, 7, True)
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}


def test_the_job_tells_why_its_pod_runs_where_it_does() -> None:
    annotations = manifest(None, Placement("n1", "pod web uses it on node n1"))["metadata"]["annotations"]
    assert annotations["models.rbee.dev/worker-node"] == "n1"
    assert annotations["models.rbee.dev/worker-placement"] == "pod web uses it on node n1"
    assert "models.rbee.dev/worker-node" not in manifest(None, Placement())["metadata"]["annotations"]
