"""What is read of a pod's document: its request, its mounts, its affinity. No document stops the reading."""

import copy
import gc
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_provisioner.domain.annotations import MODELS, MOUNT_PATH, USE
from model_provisioner.domain.pods.affinity import Affinity, Term
from model_provisioner.domain.pods.gated_pod import GatedPod, read_pod
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.store.claim import is_on_one_node
from tests.support.gated_pods import pod


def read(annotations: dict[str, str], default: str = "/models", **spec: Any) -> GatedPod:
    document = copy.deepcopy(pod("server", annotations, **spec))
    document["metadata"] |= {"namespace": "ai", "uid": "u", "resourceVersion": "7"}
    return read_pod(document, default)


def test_names_and_refs_may_have_spaces_around_them() -> None:
    found = read({USE: " tiny ,hf:a/b:Q4_K_M , https://huggingface.co/a/c"})
    assert found.request.models == ("tiny", parse("hf:a/b:Q4_K_M"), parse("hf:a/c"))
    assert (found.request.annotation, found.version, found.is_held) == (USE, 7, True)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("owner/repo", "is not a model ref: it must start with hf:"),
        ("local:modèle.gguf", "create a ModelDownload with the ref, and write its name"),
        ("local:my model.gguf", "create a ModelDownload with the ref, and write its name"),
    ],
)
def test_a_ref_that_can_not_stand_there_is_a_problem(entry: str, message: str) -> None:
    problem = read({USE: f"tiny, {entry}"}).problem
    assert problem
    assert message in problem.message


def test_use_comes_before_models() -> None:
    found = read({MODELS: "one", USE: "two"})
    assert (found.request.models, found.request_text) == (("two",), "two")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "a,,b",
        ",",
        "A",
        "a/b",
        "-a",
        "a" * 64,
        "a\nb",
        "a;b",
        "../a",
        "hf:a/b",
        "\x00",
        "é",
        ",".join("a" * 17),
    ],
)
def test_what_is_no_list_of_names_is_a_problem(text: str) -> None:
    found = read({MODELS: text})
    assert found.problem
    assert found.problem.reason == "InvalidAnnotation"
    assert (found.request.models, found.is_held) == ((), True)
    assert len(found.problem.message) < 500
    assert found.problem.message.isprintable()


def test_sixteen_models_are_allowed() -> None:
    assert len(read({MODELS: ",".join(f"m-{number}" for number in range(16))}).request.models) == 16


HUGE = "x" * 200_000
HOSTILE: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "another annotation": ({MODELS: "tiny", "note": HUGE}, {}),
    "an annotation that can't be read": ({MODELS: HUGE}, {}),
    "a ref that can't be read": ({USE: f"hf:{HUGE[:8000]}", "note": HUGE}, {}),
    "a path of a mount": ({MODELS: "tiny", MOUNT_PATH: f"/{HUGE}"}, {}),
    "gates": ({MODELS: "tiny"}, {"schedulingGates": [{"name": f"example.com/{i}"} for i in range(9_000)]}),
    "a claim": (
        {MODELS: "tiny"},
        {"volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": HUGE}}]},
    ),
    "claims": (
        {MODELS: "tiny"},
        {
            "volumes": [{"name": f"v{i}", "persistentVolumeClaim": {"claimName": f"claim-{i}"}} for i in range(3_000)],
            "containers": [
                {"name": f"c{i}", "volumeMounts": [{"name": f"v{i}", "mountPath": "/models"}]} for i in range(3_000)
            ],
        },
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_of_a_huge_document_little_is_kept(case: str) -> None:
    annotations, spec = HOSTILE[case]
    text = json.dumps(pod("server", annotations, **spec))
    tracemalloc.start()
    try:
        document = json.loads(text)
        document["metadata"] |= {"namespace": "ai", "uid": "u", "resourceVersion": "7"}
        kept = read_pod(document, "/models")
        del document
        gc.collect()
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept.name == "server"
    assert used < 32 * 1024


def test_a_name_that_no_claim_can_have_is_no_claim() -> None:
    volumes = [{"name": "models", "persistentVolumeClaim": {"claimName": "a\nb"}}]
    assert read({MODELS: "tiny"}, volumes=volumes).claims == frozenset()


@pytest.mark.parametrize("path", ["models", "", "/", "//", "/a:b", "/a\nb", "/" + "a" * 1100])
def test_what_is_no_path_of_a_mount_is_a_problem(path: str) -> None:
    problem = read({MODELS: "tiny", MOUNT_PATH: path}).problem
    assert problem
    assert MOUNT_PATH in problem.message


def mounting(path: str, **more: str) -> dict[str, Any]:
    return {"name": "c", "image": "i", "volumeMounts": [{"name": "models", "mountPath": path, **more}]}


MOUNTS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "a container": ({"containers": [mounting("/models")]}, {"models"}),
    "a slash at the end": ({"containers": [mounting("/models/")]}, {"models"}),
    "one of two": ({"containers": [mounting("/other"), mounting("/models")]}, {"models"}),
    "an init container": ({"containers": [{"name": "c"}], "initContainers": [mounting("/models")]}, {"models"}),
    "another path": ({"containers": [mounting("/other")]}, set()),
    "a part of the volume": ({"containers": [mounting("/models", subPath="hf")]}, set()),
    "a part by a variable": ({"containers": [mounting("/models", subPathExpr="$(A)")]}, set()),
    "another volume": ({"volumes": [{"name": "models", "emptyDir": {}}]}, set()),
    "no volume": ({"volumes": None}, set()),
    "no mount": ({"containers": [{"name": "c", "image": "i"}]}, set()),
}


@pytest.mark.parametrize("case", MOUNTS)
def test_the_claims_at_the_mount_path(case: str) -> None:
    spec, claims = MOUNTS[case]
    assert read({MODELS: "tiny"}, **spec).claims == claims


def test_the_claims_are_those_at_the_pods_own_path() -> None:
    found = read({MODELS: "tiny", MOUNT_PATH: "/srv/"}, containers=[mounting("/srv")])
    assert (found.mount_path, found.claims) == ("/srv", frozenset({"models"}))


def test_a_pod_without_our_gate_or_one_that_goes_is_not_held() -> None:
    assert not read({MODELS: "tiny"}, schedulingGates=[{"name": "example.com/other"}]).is_held
    assert not read({MODELS: "tiny"}, schedulingGates=None).is_held
    going = pod("server", {MODELS: "tiny"})
    going["metadata"] |= {"namespace": "ai", "uid": "u", "resourceVersion": "7", "deletionTimestamp": "2026-01-01"}
    assert read_pod(going, "/models").gate == 0
    assert not read_pod(going, "/models").is_held


def test_the_affinity_is_counted() -> None:
    terms: list[dict[str, Any]] = [{"matchExpressions": [{}, {}]}, {"matchFields": [{}]}, {}]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    assert read({}, affinity={"nodeAffinity": required}).affinity == Affinity(
        is_set=True, has_node_affinity=True, terms=(Term(2, 0), Term(0, 1), Term(0, 0))
    )


@pytest.mark.parametrize(
    ("modes", "is_one"),
    [
        (["ReadWriteOnce"], True),
        (["ReadWriteOncePod"], True),
        (["ReadWriteOnce", "ReadOnlyMany"], False),
        (["ReadWriteMany"], False),
        ([], False),
    ],
)
def test_which_access_modes_are_for_one_node(modes: list[str], is_one: bool) -> None:
    assert is_on_one_node(modes) is is_one


TEXTS = st.text(max_size=40) | st.sampled_from(["hf:a/b", "tiny", ",", "local:x.gguf", "/models", "https://a/b.gguf"])


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
@given(st.dictionaries(st.sampled_from([MODELS, USE, MOUNT_PATH]), st.lists(TEXTS, max_size=20).map(",".join)))
def test_any_annotations_can_be_read(annotations: dict[str, str]) -> None:
    found = read(annotations)
    assert (found.problem is None) == bool(found.request.models)
    assert len(found.request.models) <= 16
