"""Annotations that the policy can't follow: the pod is refused, and the message says what to do."""

import pytest

from deploy.local.api import ApiError, Document
from tests.chart.injection.pods import Served, container, pod

SIXTEEN = ",".join(f"m{number}" for number in range(16))

EMPTY = "the annotation models.rbee.dev/use has an empty entry: write names of ModelDownloads or model refs"
NEITHER = (
    "in the annotation models.rbee.dev/use is neither the name of a ModelDownload, such as tinyllama, nor a model ref"
)
TWICE = "two entries of the annotation models.rbee.dev/use have the variable MODEL_PATH_"
CLAIM = "the annotation models.rbee.dev/claim must name the PersistentVolumeClaim that has the models"
PATH = "the annotation models.rbee.dev/mount-path must be an absolute path"
CONTAINERS = "the annotation models.rbee.dev/containers must have names of containers"
UNKNOWN = (
    "the annotation models.rbee.dev/containers names sever, x, and the containers of the pod are server, first: correct"
)

WRONG: list[tuple[str, Document, str]] = [
    ("no model", pod(""), EMPTY),
    ("blanks", pod("  "), EMPTY),
    ("a comma at the end", pod("tinyllama,"), EMPTY),
    ("too many", pod(f"{SIXTEEN},m16"), "the annotation models.rbee.dev/use names more than 16 models: leave some out"),
    ("a blank in a name", pod("tiny llama"), f"'tiny llama' {NEITHER}"),
    ("upper case", pod("a,TinyLlama"), f"'TinyLlama' {NEITHER}"),
    ("an upper-case kind of ref", pod("HF:owner/repo"), f"'HF:owner/repo' {NEITHER}"),
    ("a ref with a blank", pod("hf:owner/my repo"), f"{NEITHER}, such as hf:owner/repo:Q4_K_M: correct it"),
    ("a long ref", pod(f"hf:{'x' * 1022}"), NEITHER),
    ("a long name", pod("x" * 64), NEITHER),
    ("the same model twice", pod("a, a"), f"{TWICE}A: name each model once"),
    ("two names, one variable", pod("a.b,a-b"), f"{TWICE}A_B: name each model once, or give one of the ModelDownloads"),
    ("no claim", pod(annotations={"claim": ""}), CLAIM),
    ("a wrong claim", pod(annotations={"claim": "../models"}), CLAIM),
    ("a relative path", pod(annotations={"mount-path": "models"}), PATH),
    ("the root", pod(annotations={"mount-path": "/"}), PATH),
    ("a path that leads up", pod(annotations={"mount-path": "/models/../etc"}), PATH),
    ("a path with a colon", pod(annotations={"mount-path": "/models:rw"}), PATH),
    ("no containers", pod(annotations={"containers": ""}), CONTAINERS),
    ("a wrong container", pod(annotations={"containers": "Server"}), CONTAINERS),
    (
        "an unknown container",
        pod(annotations={"containers": "server,sever,x"}, initContainers=[container("first")]),
        UNKNOWN,
    ),
    ("a node", pod(nodeName="node-1"), "can't have spec.nodeName, because it is held back from the scheduler"),
]


@pytest.mark.parametrize(("wrong", "message"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_annotation_is_refused_with_what_to_do(served: Served, wrong: Document, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        served.create(wrong)
    assert message in refused.value.message
    assert refused.value.code in {403, 422}
    assert len(refused.value.message) < 2000


def test_the_limits_themselves_are_allowed(served: Served) -> None:
    ref = f"hf:owner/{'x' * 1015}"
    assert len(ref) == 1024
    for use in (SIXTEEN, ref, "x" * 63):
        assert "schedulingGates" in served.create(pod(use), dry_run=True)["spec"]


def test_another_namespace_than_the_releases_must_name_a_claim(served: Served) -> None:
    with pytest.raises(ApiError) as refused:
        served.create(pod(), served.other)
    assert (
        "must name the PersistentVolumeClaim that has the models, in the pod's own namespace" in refused.value.message
    )
    assert f"Only in the namespace {served.home} it may be left out" in refused.value.message


STRANGE = [
    "x" * 200_000,
    "," * 200_000,
    f"hf:{'é' * 90_000}",
    "a\nb",
    "a\x00b",
    "hf:${x}\ny",
    "'] + [JSONPatch{op: 'remove', path: '/spec'}] + ['",
    "hf:a~1b/\u202e",
    "🦙",
]


@pytest.mark.parametrize("use", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize("annotation", ["use", "claim", "mount-path", "containers"])
def test_strange_annotations_are_refused_by_the_rule_that_names_them(served: Served, annotation: str, use: str) -> None:
    with pytest.raises(ApiError) as refused:
        served.create(pod(annotations={annotation: use}))
    assert refused.value.code in {403, 422}
    assert "ValidatingAdmissionPolicy" in refused.value.message
    assert f"the annotation models.rbee.dev/{annotation} " in refused.value.message


def test_an_odd_ref_is_a_value_and_changes_no_patch(served: Served) -> None:
    stored = served.create(pod("hf:'~0~1/\"}])],a"), dry_run=True)
    assert [one["name"] for one in stored["spec"]["containers"][0]["env"]] == [
        "MODEL_PATH_HF___0_1______",
        "MODEL_PATH_A",
    ]
