"""Each failure ends in its condition, with a message that says what to do, and nothing is published."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy.local.cluster import Cluster
from tests.support.api_proxy import ApiProxy, Asked
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.programs import eventually
from tests.support.stand import Stand, stand
from tests.support.volumes import read_only, small_volume

MIB = 1024**2
WRONG = "sha256:" + "ab" * 32

Prepare = Callable[[Stand], None]


def _nothing(_: Stand) -> None:
    pass


def _private(bench: Stand) -> None:
    bench.hub.repository("acme/private", private=True).add("m.Q4_K_M.gguf", tiny_gguf())


def _gated(bench: Stand) -> None:
    bench.hub.repository("acme/gated", gated=True).add("m.Q4_K_M.gguf", tiny_gguf())


def _text(bench: Stand) -> None:
    bench.hub.repository("acme/text").add("m.Q4_K_M.gguf", b"<!doctype html><title>login</title>" * 1000)


def _split(bench: Stand) -> None:
    bench.hub.repository("acme/split").add("m.Q4_K_M-00001-of-00002.gguf", tiny_gguf())


def _corrupt(bench: Stand) -> None:
    bench.hub.corrupt("tiny.Q4_K_M.gguf", 50_000)


def _empty_secret(bench: Stand) -> None:
    bench.secret("empty", {"other": "x"})


def _service_account_token(bench: Stand) -> None:
    bench.cluster.create_service_account(bench.namespace, "robot")
    bench.cluster.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "kubernetes.io/service-account-token",
                "metadata": {
                    "name": "of-an-account",
                    "namespace": bench.namespace,
                    "annotations": {"kubernetes.io/service-account.name": "robot"},
                },
            }
        ]
    )


def _bad_token(bench: Stand) -> None:
    bench.secret("bad", {"token": "hf_wrong"})


FOR_PEOPLE = {"NotGGUF", "DigestMismatch", "ClaimNotMounted"}
"""The reasons that only a change of the object or of the operator's settings can end."""

CASES: dict[str, tuple[Prepare, dict[str, Any], str, str]] = {
    "no such repository": (_nothing, {"modelRef": "hf:acme/none"}, "SourceNotFound", "credentialsSecretRef"),
    "private, no token": (_private, {"modelRef": "hf:acme/private"}, "SourceNotFound", "credentialsSecretRef"),
    "gated, no token": (_gated, {"modelRef": "hf:acme/gated"}, "LicenseNotAccepted", "acme/gated"),
    "no such revision": (_nothing, {"modelRef": "hf:acme/tiny@v9"}, "SourceNotFound", "v9"),
    "no such quantisation": (_nothing, {"modelRef": "hf:acme/tiny:Q2_K"}, "SourceNotFound", "tiny.Q8_0.gguf"),
    "a part is missing": (_split, {"modelRef": "hf:acme/split"}, "IncompleteModel", "00002"),
    "not a GGUF": (_text, {"modelRef": "hf:acme/text"}, "NotGGUF", "delete this ModelDownload"),
    "wrong digest": (_nothing, {"modelRef": "hf:acme/tiny", "digest": WRONG}, "DigestMismatch", WRONG),
    "corrupted on its way": (_corrupt, {"modelRef": "hf:acme/tiny"}, "DigestMismatch", "delete this ModelDownload"),
    "no such Secret": (
        _nothing,
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "none"}},
        "SecretNotFound",
        "create it",
    ),
    "Secret without token": (
        _empty_secret,
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "empty"}},
        "SecretNotFound",
        "`token`",
    ),
    "Secret of a service account": (
        _service_account_token,
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "of-an-account"}},
        "SecretNotFound",
        "name one of type Opaque",
    ),
    "bad token": (
        _bad_token,
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "bad"}},
        "AccessDenied",
        "in a Secret that credentialsSecretRef names",
    ),
    "no such local file": (_nothing, {"modelRef": "local:none.gguf"}, "SourceNotFound", "local/none.gguf"),
    "claim not mounted": (
        _nothing,
        {"modelRef": "hf:acme/tiny", "destination": {"claimName": "other"}},
        "ClaimNotMounted",
        "models",
    ),
    "endpoint not allowed": (
        _nothing,
        {"modelRef": "hf:acme/tiny", "endpoint": "https://hub.example"},
        "AddressNotAllowed",
        "ask the administrator to add hub.example:443 to allowedHosts (--allow-host), or correct `endpoint`",
    ),
}


def test_a_terminal_failure_says_what_to_do(bench: Stand) -> None:
    """One operator for all cases: each has an object and, if it needs one, a repository or a Secret of its own."""
    names = {case: case.lower().replace(",", "").replace(" ", "-") for case in CASES}
    for prepare, *_ in CASES.values():
        prepare(bench)
    bench.start_operator()
    for case, (_, spec, _, _) in CASES.items():
        bench.apply(names[case], **spec)
    for case, (_, _, reason, says) in CASES.items():
        check_failure(bench, names[case], reason, says)
    assert bench.published() == []
    assert bench.catalog() == {}
    assert "hf_wrong" not in bench.operator_output()
    for name in names.values():
        bench.delete(name)
    for name in names.values():
        bench.until_gone(name)
    assert not list((bench.volume / ".provisioner" / "parts").glob("*"))


def check_failure(bench: Stand, name: str, reason: str, says: str) -> None:
    status = bench.until(name, reason)["status"]
    conditions = {one["type"]: one for one in status["conditions"]}
    assert {kind: one["status"] for kind, one in conditions.items()} == {"Ready": "False", "Stalled": "True"}, name
    message = conditions["Ready"]["message"]
    assert says in message
    assert "command line" not in message
    assert "environment" not in message
    assert ("nextRetryTime" in status) == (reason not in FOR_PEOPLE), name
    eventually(lambda: bench.events(name)[-1:] == [("Warning", reason)], "an Event, which follows the status")


@pytest.mark.parametrize("suspend", [True, False], ids=["suspended", "fetched"])
def test_what_is_in_the_way_is_reported_before_a_byte_is_fetched(bench: Stand, suspend: bool) -> None:
    link = bench.volume / "hf/acme/tiny/tiny.Q4_K_M.gguf"
    link.parent.mkdir(parents=True)
    link.symlink_to("elsewhere.gguf")
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny", suspend=suspend)
    bench.until("tiny", "PathConflict")
    assert "tiny.Q4_K_M.gguf is a symbolic link" in bench.ready("tiny")["message"]
    assert "startTime" not in bench.get("tiny")["status"]
    assert link.is_symlink()
    assert bench.hub.bytes_sent() == 0
    link.unlink()
    bench.patch("tiny", annotations={"models.rbee.dev/reconcileAt": "now"})
    bench.until("tiny", "Suspended" if suspend else "Available")


def test_a_hub_that_is_down_is_asked_again_until_it_is_up(bench: Stand) -> None:
    bench.hub.down()
    bench.start_operator()
    bench.apply("patient", modelRef="hf:acme/tiny")
    status = bench.until("patient", "SourceUnavailable")["status"]
    assert {one["type"]: one["status"] for one in status["conditions"]} == {"Ready": "False", "Reconciling": "True"}
    assert status["nextRetryTime"]
    assert bench.published() == []
    bench.hub.up()
    bench.until("patient", "Available")


def test_a_volume_that_is_too_small_is_named_with_both_numbers(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with small_volume(tmp_path / "volume", 8 * MIB), stand(cluster, namespace, tmp_path) as bench:
        bench.hub.repository("acme/large").add("m.Q4_K_M.gguf", tiny_gguf(size=16 * MIB))
        bench.start_operator()
        bench.apply("large", modelRef="hf:acme/large")
        ready = bench.until("large", "InsufficientStorage")["status"]["conditions"][0]
        assert "16 MiB" in ready["message"]
        assert "free" in ready["message"]
        assert bench.published() == []
        assert bench.hub.bytes_sent() == 0
        bench.apply("careful", modelRef="hf:acme/large", suspend=True)
        told = bench.until("careful", "Suspended")["status"]["conditions"][0]["message"]
        assert re.match(r"16 MiB in all, which does not fit: 16 MiB are needed and 7.\d MiB are free; set", told)
        bench.delete("large")
        bench.until_gone("large")


def test_a_volume_that_refuses_writes_is_named(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "written").mkdir()
    with read_only(tmp_path / "written", tmp_path / "volume"), stand(cluster, namespace, tmp_path) as bench:
        bench.hub.repository("acme/tiny").add("m.Q4_K_M.gguf", tiny_gguf())
        bench.start_operator()
        bench.apply("tiny", modelRef="hf:acme/tiny")
        bench.until("tiny", "VolumeNotWritable")


def test_a_token_opens_its_repository_and_goes_nowhere_else(bench: Stand) -> None:
    bench.hub.repository("acme/private", private=True, tokens=frozenset({"hf_good"})).add("m.Q4_K_M.gguf", tiny_gguf())
    bench.secret("hf-token", {"token": "hf_good"})
    bench.start_operator()
    bench.apply("private", modelRef="hf:acme/private", credentialsSecretRef={"name": "hf-token"})
    bench.until("private", "Available")
    assert any(request.authorization for request in bench.hub.log if request.origin == "api")
    assert not any(request.authorization for request in bench.hub.log if request.origin == "content")
    assert "hf_good" not in bench.operator_output()


def test_a_secret_bound_to_other_hosts_is_not_sent_to_the_hub(bench: Stand) -> None:
    bench.hub.repository("acme/private", private=True, tokens=frozenset({"hf_good"})).add("m.Q4_K_M.gguf", tiny_gguf())
    bench.secret("hf-token", {"token": "hf_good"}, {"models.rbee.dev/hosts": "elsewhere.example"})
    bench.start_operator()
    bench.apply("private", modelRef="hf:acme/private", credentialsSecretRef={"name": "hf-token"})
    bench.until("private", "SourceNotFound")
    assert not any(request.authorization for request in bench.hub.log)


def test_another_hub_is_asked_if_its_host_is_allowed_and_gets_no_token(bench: Stand) -> None:
    bench.secret("hf-token", {"token": "hf_good"})
    with Hub() as mirror:
        mirror.repository("acme/mirrored").add("m.Q4_K_M.gguf", tiny_gguf())
        hosts = [mirror.host_port, mirror.content_origin.removeprefix("https://")]
        authorities = bench.volume.parent / "authorities.pem"
        authorities.write_bytes(bench.hub.ca_file.read_bytes() + mirror.ca_file.read_bytes())
        bench.start_operator(f"--ca-file={authorities}", *(f"--allow-host={host}" for host in hosts))
        secret = {"name": "hf-token"}
        bench.apply("there", modelRef="hf:acme/mirrored", endpoint=mirror.endpoint, credentialsSecretRef=secret)
        bench.until("there", "Available")
        assert not any(request.authorization for request in mirror.log)
        assert bench.hub.log == []


def catalog_patches(asked: Asked) -> bool:
    return asked.method == "PATCH" and asked.path.endswith("/configmaps/model-catalog")


@pytest.mark.parametrize(
    ("ref", "path", "reason"),
    [
        ("hf:acme/tiny:Q4_K_M", "hf/acme/tiny/tiny.Q4_K_M.gguf", "Downloading"),
        ("local:mine.gguf", "local/mine.gguf", "SourceNotFound"),
    ],
    ids=["fetched again", "for ever"],
)
def test_what_is_lost_before_the_catalog_has_it_is_not_catalogued(
    bench: Stand, tmp_path: Path, ref: str, path: str, reason: str
) -> None:
    (bench.volume / "local").mkdir()
    (bench.volume / "local" / "mine.gguf").write_bytes(tiny_gguf())
    with ApiProxy(bench.cluster) as proxy:
        bench.start_operator("--slots=2", f"--kubeconfig={proxy.kubeconfig(tmp_path / 'config')}")
        with proxy.answering(500, catalog_patches):
            bench.apply("lost", modelRef=ref)
            bench.until("lost", "CatalogUnavailable")
            bench.hub.pause_at(1000, "tiny.Q4_K_M.gguf")
            (bench.volume / path).unlink()
            bench.until("lost", reason)
        bench.apply("other", modelRef="hf:acme/tiny:Q8_0")
        bench.until("other", "Available")
        assert list(bench.catalog()) == ["other.claim", "other.json", "other.path"]
        bench.stop()


def test_what_the_catalog_has_no_room_for_is_not_fetched_before_it_has(bench: Stand) -> None:
    bench.start_operator(module="tests.support.cramped")
    bench.apply("first", modelRef="hf:acme/tiny:Q4_K_M")
    bench.until("first", "Available")
    bench.apply("second", modelRef="hf:acme/tiny:Q8_0")
    status = bench.until("second", "CatalogUnavailable")["status"]
    message = next(one["message"] for one in status["conditions"] if one["type"] == "Ready")
    assert re.search(r"holds 1 models in \S+ KiB of at most 1\.0 KiB, and this one needs \S+ KiB more", message)
    assert "nextRetryTime" in status
    assert bench.hub.bytes_sent("tiny.Q8_0.gguf") == 0
    bench.delete("first")
    bench.until("second", "Available")
    assert list(bench.catalog()) == ["second.claim", "second.json", "second.path"]
