"""The resource type on a real API server: what it accepts, refuses, defaults, keeps and shows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from model_provisioner.domain.errors import InvalidRef, UnsupportedSource
from model_provisioner.domain.modeldownload import MIN_BYTES_PER_SECOND
from model_provisioner.domain.quantity import parse_quantity
from model_provisioner.domain.refs import refs
from model_provisioner.kube import resource
from tests.support.programs import eventually

ROOT = Path(__file__).parents[2]
API_VERSION = resource.API_VERSION
INVALID = sorted((ROOT / "tests/data/invalid").glob("*.yaml"))
REF = "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF"
PATH = "hf/TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"
PROJECTOR = "hf/TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/mmproj-F16.gguf"
DIGEST = f"sha256:{'0' * 64}"
STARTED = {"startTime": "2026-01-01T00:00:00Z"}

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
# Parts of regular expressions, which an error message must not contain.
REGEX = ("[A-Z", "[a-z", "[0-9", "(?", ")*", ")?", "]*", "]+", "\\.", "regex")


def path(namespace: str, name: str = "") -> str:
    return resource.object_path(namespace, name) if name else resource.collection_path(namespace)


def manifest(name: str = "model", **spec: Any) -> Document:
    document = {"apiVersion": API_VERSION, "kind": "ModelDownload", "metadata": {"name": name}}
    return {**document, "spec": {"modelRef": REF, **spec}}


def refusal(cluster: Cluster, namespace: str, document: Document) -> str | None:
    """The error of the API server for creating `document` in a dry run; None if it accepts it."""
    try:
        cluster.api.create(f"{path(namespace)}?dryRun=All&fieldValidation=Strict", document)
    except ApiError as error:
        return f"{error.reason}: {error.message}"
    return None


@pytest.mark.parametrize("file", INVALID, ids=lambda file: file.stem)
def test_a_bad_manifest_is_refused_with_words_for_people(cluster: Cluster, namespace: str, file: Path) -> None:
    text = file.read_text()
    words = text.splitlines()[0].removeprefix("# ")
    message = refusal(cluster, namespace, yaml.safe_load(text))
    assert message is not None, f"{file.name} was accepted"
    assert message.startswith("Invalid: ")
    assert words in message
    assert not [piece for piece in REGEX if piece in message.replace("[:port][/path]", "")]


def test_there_are_enough_bad_manifests() -> None:
    assert len(INVALID) >= 20


def test_a_bad_ref_gets_one_message(cluster: Cluster, namespace: str) -> None:
    for file in INVALID:
        if file.stem.startswith(("ref-", "local-")):
            message = refusal(cluster, namespace, yaml.safe_load(file.read_text())) or ""
            assert message.count("spec.modelRef:") + message.count("spec.reclaimPolicy:") <= 1, message


def test_the_samples_are_accepted(cluster: Cluster, namespace: str) -> None:
    stored = cluster.apply(ROOT / "deploy/samples", namespace)
    kinds = [document["kind"] for document in stored]
    assert kinds.count("ModelDownload") == len(list((ROOT / "deploy/samples").iterdir()))
    assert set(kinds) == {"ModelDownload", "Secret"}


def test_a_misspelled_field_is_refused(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(ApiError, match=r'unknown field "spec\.conections"'):
        cluster.api.create(f"{path(namespace)}?fieldValidation=Strict", manifest(conections=4))


def test_every_field_of_the_spec_is_accepted_and_kept(cluster: Cluster, namespace: str) -> None:
    spec: Document = {
        "modelRef": f"{REF}@refs/pr/3:Q4_K_M",
        "digest": DIGEST,
        "projector": "Auto",
        "credentialsSecretRef": {"name": "hf-token"},
        "endpoint": "http://[::1]:8080/mirror",
        "destination": {"claimName": "models"},
        "connections": 16,
        "maxBytesPerSecond": "50Mi",
        "priority": -5,
        "suspend": True,
        "reclaimPolicy": "Delete",
    }
    assert cluster.api.create(path(namespace), manifest(**spec))["spec"] == spec
    assert set(spec) == set(properties(cluster)["spec"]["properties"])


def test_what_is_left_out_is_defaulted(cluster: Cluster, namespace: str) -> None:
    stored = cluster.api.create(path(namespace), manifest())
    assert stored["spec"] == {
        "modelRef": REF,
        "connections": 8,
        "priority": 0,
        "suspend": False,
        "reclaimPolicy": "Retain",
    }
    assert stored["status"] == {"observedGeneration": -1}


S3_REFS = [
    *(
        f"s3://{name}/a.gguf"
        for name in ("b", "bb", "bbb", "b.b", "a..b", "B12", "-ab", "ab-", "a_b", "a" * 63, "a" * 64)
    ),
    *(
        "s3:",
        "s3:/",
        "s3://",
        "s3:///a.gguf",
        "s3://bkt",
        "s3:bkt/a.gguf",
        "s3:/bkt/a.gguf",
        "S3://bkt/a.gguf",
        "s3//bkt/a",
    ),
    *(
        f"s3://bkt/{rest}"
        for rest in (
            *(
                "",
                ":",
                ":Q4_K_M",
                ":-Q4",
                ":Q4.1",
                ":a.gguf",
                "/",
                "//",
                "p",
                "p/",
                "p/:",
                "p/:Q8_0",
                "p/:Q8 0",
                "p/q/:f16",
            ),
            *(
                "a.bin",
                "a.GGUF",
                ".gguf",
                "p/a.gguf",
                "p/a b/é.gguf",
                "a%20b.gguf",
                "a?b=c.gguf",
                "a#b.gguf",
                "a@b.gguf",
            ),
            *(
                "a.gguf/",
                "a.gguf/:Q4",
                "a.gguf:Q4",
                "a:b.gguf",
                "p/:Q4/a.gguf",
                "p/:Q4:Q5",
                "p:q/",
                "p:q/:Q4",
                "p/a.gguf ",
            ),
            *(
                "/a.gguf",
                "p//a.gguf",
                "./a.gguf",
                "../a.gguf",
                "p/./a.gguf",
                "p/../a.gguf",
                "..a.gguf",
                "p/..",
                "p/../",
                "./",
            ),
            *("p\\a.gguf", "p\na.gguf", "p\x7f.gguf", "p\n/", "p\\/:Q4", "p\x00/:Q4", "p/\n"),
            *(f"{'a' * length}.gguf" for length in (250, 251)),
            *(f"{'a' * length}/" for length in (255, 256)),
            *(f"{'a/' * length}b.gguf" for length in (253, 254)),
            *(f"{'a/' * length}" for length in (256, 257)),
            *(f"{'a/' * length}:Q4" for length in (256, 257)),
            *(f":{'Q' * length}" for length in (64, 65)),
        )
    ),
]
REFS = [
    *(f"{REF}{tail}" for tail in ("", "@main", "@refs/pr/3", "@v1.0:Q8_0", ":UD-Q4_K_XL", ":f16", ":Q4_K_M.GGUF")),
    *(f"{REF}:{selector}" for selector in ("a b/модель.gguf", "x/.hidden.gguf", "..a/b.gguf", "a@b.gguf", ".gguf")),
    *(f"{REF}:{selector}" for selector in ("", "Main", "latest", "-Q4", "Q4-", "Q4 K", "Q4.1", "a" * 65, "model.bin")),
    *(
        f"{REF}:{selector}"
        for selector in ("./a.gguf", "a//b.gguf", "a/./b.gguf", "a/../b.gguf", "/a.gguf", "../a.gguf")
    ),
    *(f"{REF}:{selector}" for selector in ("a\\b.gguf", "a\nb.gguf", "a\x7f.gguf", "Q4:b.gguf", "Q4:Q8", "a.gguf/")),
    *(
        f"{REF}:{selector}"
        for selector in ("UD-IQ1_S/", "a b/модель/", ".x/", "main/", "/", "//", "a//", "/a/", "./", "../")
    ),
    *(
        f"{REF}:{selector}"
        for selector in ("a/../b/", "a/.", "a/..", "a/b", "a:b/", "a\\/", "a\n/", "a\x00/", f"{'a/' * 256}")
    ),
    *(f"{REF}:{'a' * length}/" for length in (255, 256)),
    *(f"{REF}:{'a' * length}/{'b' * 250}.gguf" for length in (255, 256)),
    f"{REF}:{'b' * 251}.gguf",
    *(f"{REF}:{'a/' * length}b.gguf" for length in (253, 254)),
    *(
        f"{REF}@{revision}"
        for revision in ("", "/a", "a/", "a//b", "a..b", "a b", "a@b", "a" * 255, "a" * 256, ":Q4_K_M")
    ),
    *(f"hf:{name}" for name in ("", "a", "a/", "/b", "a/b/c", "a--b/c", "a/b--c", "a/b..c", "-a/b", "a/b-", ".a/b")),
    *(f"hf:{name}" for name in ("a/b.", "_a_/_b_", "a/b.git", "a.git/b", "a/b.gitx", f"{'a' * 96}/b", f"{'a' * 97}/b")),
    *("hf:a/b@main/c.gguf", "hf:a/b:c@d/e.gguf", "hf:ä/b", "HF:a/b", "hf:a/b ", " hf:a/b", "hf://a/b", "hf:/a/b", "hf"),
    *(
        f"modelscope:{name}"
        for name in ("a/b", "a/b@v1:Q8_0", "a/b@master", "a/b:d/é x.gguf", "a/b:d/", "a/b@a:b.gguf")
    ),
    *(
        f"modelscope:{name}"
        for name in ("", "a", "a/", "//a/b", "a/b/c", "a--b/c", "a/b.git", "ä/b", "a/b@", "a/b@a..b")
    ),
    *(
        f"modelscope:a/b:{name}"
        for name in ("", "master", "MAIN", "x.bin", "/", "../a.gguf", "a//b.gguf", "Q4 K", "a:b/")
    ),
    *(f"local:{name}" for name in ("a.gguf", "a/b.GGUF", "", "a", "/a.gguf", "a//b.gguf", "../a.gguf", "a/../b.gguf")),
    *(f"local:{name}" for name in ("./a.gguf", "//a.gguf", "a:b.gguf", "a\tb.gguf", ".a.gguf", ".gguf", "a.gguf/")),
    *(
        *S3_REFS,
        "gs://b/a.gguf",
    ),
    *(
        f"https://{rest}"
        for rest in (
            *("h/a.gguf", "h.example/a/b.GGUF", "h:8443/a.gguf", "h:80/a.gguf", "127.0.0.1/a.gguf", "a_b-c/~x.gguf"),
            *(
                "h/a%20b.gguf",
                "h/%C3%A9.gguf",
                "h/%F0%9F%A4%97.gguf",
                "h/a+b@c;d=(e).gguf",
                "h/.gguf",
                "h/a.gguf/b.gguf",
            ),
            *("", "h", "h/", "/a.gguf", "h/a", "h/a.bin", "H/a.gguf", "h./a.gguf", ".h/a.gguf", "h..i/a.gguf"),
            *(
                "h:443/a.gguf",
                "h:0/a.gguf",
                "h:65535/a.gguf",
                "h:65536/a.gguf",
                "h:/a.gguf",
                "h:08/a.gguf",
                "h:x/a.gguf",
            ),
            *("u@h/a.gguf", "u:p@h/a.gguf", "h/a.gguf?x=y", "h/a.gguf#x", "h/a.gguf?", "h/a?x.gguf", "@h/a.gguf"),
            *("h//a.gguf", "h/a//b.gguf", "h/./a.gguf", "h/../a.gguf", "h/a/../b.gguf", "h/..a.gguf", "h/a..gguf"),
            *("h/%2e%2e/a.gguf", "h/%2E%2E/a.gguf", "h/a%2Fb.gguf", "h/a%5Cb.gguf", "h/a%00b.gguf", "h/a%7Fb.gguf"),
            *("h/%61.gguf", "h/a%c3%a9.gguf", "h/%C3.gguf", "h/%C0%80.gguf", "h/%ED%A0%80.gguf", "h/%F4%90%80%80.gguf"),
            *(
                "h/a b.gguf",
                "h/é.gguf",
                "h/a%2.gguf",
                "h/a%ZZ.gguf",
                "h/a:b.gguf",
                "h/a%3Ab.gguf",
                "h/a\\b.gguf",
                "h/a\n.gguf",
            ),
            *(f"h/{'a' * length}.gguf" for length in (250, 251)),
            *(f"{'a' * length}/b.gguf" for length in (63, 64)),
            *(f"{'a.' * length}b/c.gguf" for length in (122, 123, 127)),
            *(
                "[::1]/a.gguf",
                "[::1]:8443/a.gguf",
                "hé/a.gguf",
                "huggingface.co/a/b.gguf",
                "huggingface.co:443/a/b.gguf",
            ),
            *("www.huggingface.co/a/b.gguf", "hf.co:8443/a/b/resolve/main/c.gguf", "huggingface.co.example/a.gguf"),
        )
    ),
    *(
        "http://h/a.gguf",
        "http://h:80/a.gguf",
        "http://h:8080/a.gguf",
        "http://h:443/a.gguf",
        "https:h/a.gguf",
        "https:/h/a.gguf",
    ),
    *("https://huggingface.co/a/b", "https://hf.co/a/b", "https://huggingface.co/", "a/b", ":", "x"),
    *(
        f"oci://{rest}"
        for rest in (
            *("r.e/a", "r:5000/a/b_c--d:v1.0_X", "localhost/a", "localhost:1/a", "r_-.e/0a/b.c", "127.0.0.1:5000/a__b"),
            *("", "/", "r", "r/a", "r.e", "r.e/", "R.e/a", "r.e./a", ".e/a", "r..e/a", "r:/a", "r:0/a", "r:08/a"),
            *("r:443/a", "r.e:443/a", "r:65535/a", "r:65536/a", "u@r.e/a", "r.e?/a", "[::1]:5000/a", "é.e/a", "r.e/é"),
            *("r.e/A", "r.e/a/", "r.e//a", "r.e/-a", "r.e/a-", "r.e/a..b", "r.e/a___b", "r.e/a---b", "r.e/a._b"),
            *("r.e/a:", "r.e/a:_", "r.e/a:.x", "r.e/a:-x", "r.e/a:x y", "r.e/a:x:y", "r.e/a:x/y", "r.e/a:x\n"),
            *("r.e/a@", "r.e/a@x", f"r.e/a@{DIGEST}", f"r.e/a:x@{DIGEST}", f"r.e/a@{DIGEST}:x", f"r.e/a@{DIGEST}0"),
            *(f"r.e/a@{DIGEST.replace('0', 'A')}", f"r.e/a@sha512:{'0' * 128}", "r.e/../a", "r.e/a?x", "r.e/a#x"),
            *(f"r.e/a:{'x' * length}" for length in (128, 129)),
            *(f"r.e/{'a' * length}" for length in (255, 256)),
            *(f"{'a' * length}.e/a" for length in (63, 64)),
            *(f"{'a.' * length}{end}/c" for length in (122, 123) for end in ("b", "bc")),
        )
    ),
    *(
        f"ollama:{rest}"
        for rest in (
            *("a", "a:b", "a/b", "a/b:c", "_/_:_", "A.b-c:8b-q4_K_M", "a-b/c", "a:b..c", "a.:b", "a-:b-"),
            *("", ":", "a:", "/a", "a/", "a//b", "a/b/c", "/a/b", "a.b/c", "..", "a..b", ".a", "-a", "a:-b", "a:.b"),
            *("//a", "a b", "é", "a:b:c", "a:b/c", "a@b", f"a@{DIGEST}", "a\n", "a\n/b", "h/a/b:c", "a:b/c/d"),
            *(f"{'a' * length}" for length in (80, 81)),
            *(f"{'a' * length}/b" for length in (80, 81)),
            *(f"a:{'b' * length}" for length in (80, 81)),
        )
    ),
    *("oci:r.e/a", "oci:/r.e/a", "OCI://r.e/a", "Ollama:a"),
]


@pytest.mark.parametrize("ref", REFS, ids=repr)
def test_the_schema_accepts_the_refs_that_the_parser_accepts(cluster: Cluster, namespace: str, ref: str) -> None:
    try:
        refs.parse(ref)
        parsed = True
    except (InvalidRef, UnsupportedSource):
        parsed = False
    message = refusal(cluster, namespace, manifest(modelRef=ref))
    assert (message is None) == parsed, message


LIMITS = [
    1,
    0,
    -1,
    2**63 - 1,
    "1",
    "0",
    "50Mi",
    "1.5Gi",
    ".5k",
    "2e9",
    "5E6",
    "5e-1",
    "1.",
    "100m",
    "1E",
    "1Ei",
    "-1",
    "+1",
    "",
    "Mi",
]
LIMITS += [65535, 65536, "63Ki", "64Ki", "65.6k", "6.5e4", "1e-1"]
LIMITS += ["9223372036854775808", "9223372036854775807", "8Pi", "9999999P", "1 Mi", "1mi", "50MiB", "9" * 20, "1e99"]


@pytest.mark.parametrize("limit", LIMITS, ids=repr)
def test_the_schema_accepts_the_limits_that_the_parser_reads(
    cluster: Cluster, namespace: str, limit: str | int
) -> None:
    try:
        enough = parse_quantity(limit) >= MIN_BYTES_PER_SECOND
    except ValueError:
        enough = False
    message = refusal(cluster, namespace, manifest(maxBytesPerSecond=limit))
    assert (message is None) == enough, message


CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldownloads.models.rbee.dev"


@pytest.fixture
def slow_object(cluster: Cluster, namespace: str) -> str:
    """An object with a limit of one byte, made when the schema allowed it; returns its path."""
    crd = yaml.safe_load((ROOT / "crds/modeldownload.yaml").read_text())
    earlier = yaml.safe_load(
        (ROOT / "crds/modeldownload.yaml").read_text().replace("quantity('64Ki')", "quantity('1')")
    )
    cluster.apply([earlier])
    try:
        eventually(
            lambda: refusal(cluster, namespace, manifest(maxBytesPerSecond=1)) is None, "the earlier schema acts"
        )
        cluster.api.create(path(namespace), manifest("slow", maxBytesPerSecond=1))
    finally:
        cluster.apply([crd])
    eventually(lambda: refusal(cluster, namespace, manifest(maxBytesPerSecond=1)), "the present schema acts")
    return path(namespace, "slow")


def test_an_object_that_has_a_lower_limit_from_before_can_still_be_changed_and_deleted(
    cluster: Cluster, slow_object: str
) -> None:
    cluster.api.merge(f"{slow_object}/status", {"status": STARTED})
    cluster.api.merge(slow_object, {"metadata": {"finalizers": [resource.FINALIZER]}, "spec": {"priority": 3}})
    changed = cluster.api.get(slow_object)
    assert changed["spec"]["maxBytesPerSecond"] == 1
    assert changed["status"]["startTime"] == STARTED["startTime"]
    assert resource.parse(changed).spec.max_bytes_per_second == MIN_BYTES_PER_SECOND
    cluster.api.delete(slow_object)
    cluster.api.merge(slow_object, {"metadata": {"finalizers": None}})
    with pytest.raises(ApiError, match="not found"):
        cluster.api.get(slow_object)


MUTABLE = [
    ({"credentialsSecretRef": {"name": "a"}}, {"credentialsSecretRef": {"name": "b"}}),
    ({"credentialsSecretRef": {"name": "a"}}, {"credentialsSecretRef": None}),
    ({}, {"connections": 2}),
    ({"maxBytesPerSecond": "50Mi"}, {"maxBytesPerSecond": 65536}),
    ({"maxBytesPerSecond": "50Mi"}, {"maxBytesPerSecond": None}),
    ({}, {"priority": 7}),
    ({}, {"suspend": True}),
    ({}, {"reclaimPolicy": "Delete"}),
]
UNTIL_STARTED = [
    ({}, {"modelRef": f"{REF}:Q8_0"}),
    ({}, {"digest": DIGEST}),
    ({"digest": DIGEST}, {"digest": None}),
    ({"digest": DIGEST}, {"digest": f"sha256:{'1' * 64}"}),
    ({}, {"projector": "Auto"}),
    ({"projector": "Auto"}, {"projector": "None"}),
    ({"projector": "Auto"}, {"projector": None}),
    ({}, {"endpoint": "https://mirror.example"}),
    ({"endpoint": "https://mirror.example"}, {"endpoint": None}),
    ({"endpoint": "https://mirror.example"}, {"endpoint": "https://other.example"}),
]
IMMUTABLE = [
    ({"destination": {"claimName": "a"}}, {"destination": {"claimName": "b"}}),
    ({"destination": {"claimName": "a"}}, {"destination": None}),
    ({}, {"destination": {"claimName": "a"}}),
]


def create(cluster: Cluster, namespace: str, spec: Document, status: Document | None = None) -> None:
    cluster.api.create(path(namespace), manifest(**spec))
    if status:
        cluster.api.merge(f"{path(namespace, 'model')}/status", {"status": status})


@pytest.mark.parametrize(("spec", "change"), [*MUTABLE, *UNTIL_STARTED], ids=repr)
def test_before_fetching_began_it_can_be_changed(
    cluster: Cluster, namespace: str, spec: Document, change: Document
) -> None:
    create(cluster, namespace, spec, {"observedGeneration": 1})
    stored = cluster.api.merge(path(namespace, "model"), {"spec": change})["spec"]
    assert {field: stored.get(field) for field in change} == change


@pytest.mark.parametrize(("spec", "change"), MUTABLE, ids=repr)
def test_some_fields_can_always_be_changed(cluster: Cluster, namespace: str, spec: Document, change: Document) -> None:
    create(cluster, namespace, spec, STARTED)
    stored = cluster.api.merge(path(namespace, "model"), {"spec": change})["spec"]
    assert {field: stored.get(field) for field in change} == change


@pytest.mark.parametrize(("spec", "change"), UNTIL_STARTED, ids=repr)
def test_once_fetching_began_the_identity_stays(
    cluster: Cluster, namespace: str, spec: Document, change: Document
) -> None:
    create(cluster, namespace, spec, STARTED)
    (field,) = change
    with pytest.raises(ApiError, match=rf"spec\.{field}: .*cannot be changed once fetching has begun; create another"):
        cluster.api.merge(path(namespace, "model"), {"spec": change})


def test_no_projector_is_the_same_as_none_is_asked_for(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, {"projector": "None"}, STARTED)
    cluster.api.merge(path(namespace, "model"), {"spec": {"projector": None}})
    cluster.api.merge(path(namespace, "model"), {"spec": {"projector": "None"}})


@pytest.mark.parametrize(("spec", "change"), IMMUTABLE, ids=repr)
def test_the_destination_never_changes(cluster: Cluster, namespace: str, spec: Document, change: Document) -> None:
    create(cluster, namespace, spec)
    with pytest.raises(ApiError, match=r"spec\.destination: .*cannot be changed, added or removed; create another"):
        cluster.api.merge(path(namespace, "model"), {"spec": change})


STATUS = {
    "observedGeneration": 1,
    "conditions": [
        {
            "type": kind,
            "status": "True",
            "reason": "Downloading",
            "message": "15% · 50 MiB/s · 11s",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Ready", "Reconciling")
    ],
    "progress": {
        "bytes": 104857600,
        "totalBytes": 668788096,
        "percent": 15,
        "bytesPerSecond": 52428800,
        "etaSeconds": 11,
        "summary": "15% · 50 MiB/s · 11s",
        "lastUpdateTime": "2026-01-01T00:00:02Z",
    },
    "startTime": "2026-01-01T00:00:00Z",
    "completionTime": "2026-01-01T00:00:13Z",
    "nextRetryTime": "2026-01-01T00:05:00Z",
    "attempts": 1,
    "lastHandledReconcileAt": "now",
    "lastHandledVerifyAt": "then",
    "model": {
        "repository": "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF",
        "revision": "52e7645ba7c309695bec7ac98f4f005b139cf465",
        "claimName": "models",
        "storeID": "5b6c1f0e",
        "lastCheckTime": "2026-01-01T00:05:00Z",
        "volumeName": "pvc-0a1b",
        "path": PATH,
        "size": "637 MiB",
        "sizeBytes": 668788096,
        "digest": DIGEST,
        "digestSource": "Source",
        "projector": {"path": PROJECTOR},
        "ollama": {
            "template": "{{ .Prompt }}",
            "parameters": '{"num_ctx":4096}',
            "system": "Be brief.",
            "omitted": ["template"],
        },
        "files": [
            {"path": PATH, "sizeBytes": 667788096, "digest": DIGEST},
            {"path": PROJECTOR, "sizeBytes": 1000000, "digest": DIGEST},
        ],
        "gguf": {
            "architecture": "llama",
            "name": "tinyllama",
            "parameters": 1100048384,
            "quantization": "Q4_K_M",
            "contextLength": 2048,
            "license": "apache-2.0",
            "chatTemplate": True,
            "unknownTensorTypes": [36, 137],
            "baseModel": "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
            "adapter": True,
        },
    },
}


def test_every_field_of_the_status_is_kept(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, {}, STATUS)
    assert cluster.api.get(path(namespace, "model"))["status"] == STATUS
    schema = properties(cluster)["status"]
    assert leaves(schema) == set(spelled(STATUS))


def test_the_operator_reads_and_writes_every_field_of_the_status(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, {}, STATUS)
    read = resource.parse(cluster.api.get(path(namespace, "model"))).status
    assert resource.status_document(read) == STATUS


def test_a_status_cannot_come_with_the_manifest(cluster: Cluster, namespace: str) -> None:
    stored = cluster.api.create(path(namespace), {**manifest(), "status": STATUS})
    assert stored["status"] == {"observedGeneration": -1}


def test_the_columns_tell_what_goes_on(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, {}, STATUS)
    table = cluster.api.get(path(namespace), accept=TABLE)
    columns = table["columnDefinitions"]
    assert [column["name"].upper() for column in columns if not column["priority"]] == [
        *("NAME", "MODEL", "READY", "STATUS", "PROGRESS", "SIZE", "AGE")
    ]
    assert [column["name"].upper() for column in columns if column["priority"]] == ["CLAIM", "PATH", "MESSAGE"]
    shown = dict(zip((column["name"] for column in columns), table["rows"][0]["cells"], strict=True))
    del shown["Age"]
    assert shown == {
        "Name": "model",
        "Model": REF,
        "Ready": "True",
        "Status": "Downloading",
        "Progress": "15% · 50 MiB/s · 11s",
        "Size": "637 MiB",
        "Claim": "models",
        "Path": PATH,
        "Message": "15% · 50 MiB/s · 11s",
    }


def test_kubectl_explain_has_something_to_say_about_every_field(cluster: Cluster) -> None:
    """From the OpenAPI document that the API server publishes, which is what kubectl reads."""
    document = cluster.api.get(f"/openapi/v3/apis/{API_VERSION}")
    schema = document["components"]["schemas"]["dev.rbee.models.v1alpha1.ModelDownload"]
    assert schema["description"]
    silent = [field for field, described in described_fields(schema) if not described]
    assert silent == []


def test_kubectl_explain_tells_of_every_source(cluster: Cluster) -> None:
    spec = properties(cluster)["spec"]["properties"]
    told = {field: " ".join(spec[field]["description"].split()) for field in spec}
    for kind in refs.KINDS:
        assert f"`{kind.schemes[0]}:" in told["modelRef"]
        assert f"{kind.schemes[0]}: " in told["credentialsSecretRef"]
        for key in re.findall(r"`[^`]+`", " ".join(one.keys for one in kind.secret_kinds)):
            assert key in told["credentialsSecretRef"].partition(f"{kind.schemes[0]}: ")[2].partition(" for ")[0]
    for scheme in refs.ENDPOINTS:
        assert f"{scheme}:" in told["endpoint"]


def test_the_short_name_is_known_and_there_is_no_category(cluster: Cluster) -> None:
    (found,) = [
        item for item in cluster.api.get(f"/apis/{API_VERSION}")["resources"] if item["name"] == "modeldownloads"
    ]
    assert found["shortNames"] == ["mdl"]
    assert "categories" not in found


def properties(cluster: Cluster) -> Document:
    definition = cluster.api.get(
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/modeldownloads.models.rbee.dev"
    )
    found: Document = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return found


def described_fields(schema: Document, at: str = "") -> Iterator[tuple[str, bool]]:
    for name, child in schema.get("properties", {}).items():
        yield f"{at}.{name}", bool(child.get("description"))
        if name != "metadata":
            yield from described_fields(child.get("items", child), f"{at}.{name}")


def leaves(schema: Document, at: str = "") -> set[str]:
    """The paths of all values that a schema allows; list items count once."""
    children = schema.get("items", schema).get("properties", {})
    return set().union(*(leaves(child, f"{at}.{name}") for name, child in children.items())) if children else {at}


def spelled(value: object, at: str = "") -> Iterator[str]:
    """The paths of all values in a document; list items count once."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name, child in item.items():
                yield from spelled(child, f"{at}.{name}")
        else:
            yield at
