"""The policies and the operator read `models.rbee.dev/use` alike: which texts they take, and which models these name.

The policies do so in CEL (`templates/_injection.tpl`), the operator in `domain.pods.wanted`. Two differences are
intended. CEL does not know the grammar of refs: the operator says in an Event what is wrong with one. And the policies
refuse two models with one variable, while the operator adds no variables.
"""

import re

import pytest

from deploy.local.api import ApiError
from model_provisioner.domain.annotations import MOUNT_PATH, USE
from model_provisioner.domain.pods.gated_pod import read_pod
from model_provisioner.domain.pods.wanted import Request, UnreadableAnnotation, Wanted, read_request
from model_provisioner.domain.refs.refs import BY_SCHEME, parse_lenient
from tests.chart.injection.pods import Served, env, pod
from tests.support.gated_pods import pod as gated_pod

ODD_BLANKS = (0x85, 0xA0, 0x1680, *range(0x2000, 0x200B), 0x2028, 0x2029, 0x202F, 0x205F, 0x3000)
BLANKS = "".join(map(chr, (*range(9, 14), 0x20, *ODD_BLANKS)))

TAKEN: list[tuple[str, list[str]]] = [
    ("tinyllama", ["tinyllama"]),
    ("0", ["0"]),
    ("a-1.b", ["a-1.b"]),
    ("a..b,c--d", ["a..b", "c--d"]),
    ("a" * 63, ["a" * 63]),
    (",".join(f"m{number}" for number in range(16)), [f"m{number}" for number in range(16)]),
    (" a ,\tb\n,c", ["a", "b", "c"]),
    (f"{BLANKS}a{BLANKS},{BLANKS}b", ["a", "b"]),
    ("a," + " " * 8100 + "b", ["a", "b"]),
    ("hf:owner/repo", ["hf:owner/repo"]),
    ("hf:owner/repo@main:Q4_K_M, tiny", ["hf:owner/repo@main:Q4_K_M", "tiny"]),
    ("hf://owner/repo", ["hf://owner/repo"]),
    ("https://huggingface.co/owner/repo,a", ["https://huggingface.co/owner/repo", "a"]),
    ("hf.co/owner/repo:Q4_K_M,b", ["hf.co/owner/repo:Q4_K_M", "b"]),
    ("HuggingFace.co/owner/repo", ["HuggingFace.co/owner/repo"]),
    ("ollama:tinyllama:1.1b,c", ["ollama:tinyllama:1.1b", "c"]),
    ("local:a~b/c+d.gguf,s3://bucket/a.gguf", ["local:a~b/c+d.gguf", "s3://bucket/a.gguf"]),
    ("https://example.com/a%20b.gguf", ["https://example.com/a%20b.gguf"]),
]
"""A text, and the entries of it."""

REFUSED = [
    "",
    " ",
    BLANKS,
    ",",
    "a,",
    ",a",
    "a,,b",
    ",".join(f"m{number}" for number in range(17)),
    "A",
    "-a",
    "a-",
    ".a",
    "a_b",
    "a b",
    "a;b",
    "a\x1f",
    "\x1ca",
    "a\x00",
    "a\u200b",
    "é",
    "a" * 64,
    "a," + " " * 8192 + "b",
    "owner/repo",
    "../a",
    "HF:owner/repo",
    "tinyllama:latest",
    "gguf:owner/repo",
    ":a",
    "hf:",
    "hf:owner/my repo",
    "local:modèle.gguf",
    f"local:{'a/' * 600}b.gguf",
    "oci://registry/é",
    "hf:owner/repo\n:Q4_K_M",
]


def read(text: str) -> Request | None:
    try:
        return read_request({USE: text})
    except UnreadableAnnotation:
        return None


def wanted(entry: str) -> Wanted:
    return parse_lenient(entry) if ":" in entry or "/" in entry else entry


def variables(entries: list[str]) -> list[str]:
    if len(entries) == 1:
        return ["MODEL_PATH", "MODEL_NAME"]
    return [f"MODEL_PATH_{re.sub('[^A-Z0-9]', '_', entry.upper())}" for entry in entries]


@pytest.mark.parametrize(("text", "entries"), TAKEN)
def test_both_take_the_same_models(served: Served, text: str, entries: list[str]) -> None:
    found = read(text)
    assert found
    assert found.models == tuple(map(wanted, entries))
    assert [one["name"] for one in env(served.create(pod(text), dry_run=True))] == variables(entries)


@pytest.mark.parametrize("text", REFUSED)
def test_both_refuse(served: Served, text: str) -> None:
    assert read(text) is None
    with pytest.raises(ApiError, match=r"the annotation models\.rbee\.dev/use"):
        served.create(pod(text), dry_run=True)


@pytest.mark.parametrize("text", ["hf:owner", "hf:owner/repo@", "s3://b", "local:../a.gguf", "https://a/b.bin"])
def test_only_the_operator_knows_the_grammar_of_refs(served: Served, text: str) -> None:
    assert read(text) is None
    assert served.create(pod(text), dry_run=True)["spec"]["schedulingGates"]


@pytest.mark.parametrize("text", ["a,a", "a.b,a-b"])
def test_only_the_policies_refuse_two_models_with_one_variable(served: Served, text: str) -> None:
    assert read(text)
    with pytest.raises(ApiError, match="have the variable MODEL_PATH_A"):
        served.create(pod(text), dry_run=True)


@pytest.mark.parametrize("scheme", sorted(BY_SCHEME))
def test_the_policies_know_every_kind_of_ref(served: Served, scheme: str) -> None:
    assert served.create(pod(f"{scheme}:owner/repo"), dry_run=True)["spec"]["schedulingGates"]


@pytest.mark.parametrize("path", ["/models", "/srv/a+b/c.d_e-f", "/..a", "/" + "a" * 511])
def test_the_operator_takes_every_mount_path_that_the_policies_take(served: Served, path: str) -> None:
    stored = served.create(pod(annotations={"mount-path": path}), dry_run=True)
    assert path in {mount["mountPath"] for mount in stored["spec"]["containers"][0]["volumeMounts"]}
    made = gated_pod("server", {USE: "tiny", MOUNT_PATH: path})
    made["metadata"] |= {"namespace": "ai", "uid": "u", "resourceVersion": "7"}
    assert (read_pod(made, "/models").mount_path, read_pod(made, "/models").problem) == (path, None)
