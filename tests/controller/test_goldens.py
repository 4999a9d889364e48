"""The whole objects that a real operator leaves, next to what was applied.

`UPDATE_GOLDENS=1 pytest tests/controller/test_goldens.py` writes the goldens anew; git shows what changed.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.ggufs import tiny_gguf, write_split
from tests.support.goldens import Document, assert_all_used, assert_golden
from tests.support.hub import Hub
from tests.support.stand import Stand
from tests.support.volumes import small_volume

Spec = dict[str, Any]

MIB = 1024**2
DIGEST = "sha256:" + "ab" * 32

CASES: dict[str, tuple[Spec, str]] = {
    "ready": ({"modelRef": "hf:acme/tiny"}, "Available"),
    "ready-digest-computed": ({"modelRef": "hf:acme/plain", "connections": 2, "priority": 7}, "Available"),
    "ready-split": ({"modelRef": "hf:acme/split:Q4_K_M", "reclaimPolicy": "Delete"}, "Available"),
    "ready-local": ({"modelRef": "local:by-hand.gguf"}, "Available"),
    "suspended": ({"modelRef": "hf:acme/tiny:Q8_0", "suspend": True}, "Suspended"),
    "not-found": ({"modelRef": "hf:acme/none"}, "SourceNotFound"),
    "quantisation-not-found": ({"modelRef": "hf:acme/tiny:Q2_K"}, "SourceNotFound"),
    "ambiguous": ({"modelRef": "hf:acme/many"}, "AmbiguousModel"),
    "part-missing": ({"modelRef": "hf:acme/half"}, "IncompleteModel"),
    "raw-pieces": ({"modelRef": "hf:acme/pieces"}, "UnsupportedSource"),
    "not-gguf": ({"modelRef": "hf:acme/page"}, "NotGGUF"),
    "digest-mismatch": ({"modelRef": "hf:acme/other", "digest": DIGEST}, "DigestMismatch"),
    "digest-mismatch-at-the-end": ({"modelRef": "hf:acme/damaged"}, "DigestMismatch"),
    "digest-of-many-files": ({"modelRef": "hf:acme/split", "digest": DIGEST}, "InvalidRef"),
    "gated": ({"modelRef": "hf:acme/gated"}, "LicenseNotAccepted"),
    "gated-to-this-account": (
        {"modelRef": "hf:acme/gated", "credentialsSecretRef": {"name": "stranger"}},
        "LicenseNotAccepted",
    ),
    "token-refused": ({"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "expired"}}, "AccessDenied"),
    "secret-missing": (
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "hf-token"}},
        "SecretNotFound",
    ),
    "secret-without-token": (
        {"modelRef": "hf:acme/tiny", "credentialsSecretRef": {"name": "empty"}},
        "SecretNotFound",
    ),
    "link-in-the-way": ({"modelRef": "local:link.gguf"}, "PathConflict"),
    "claim-not-mounted": ({"modelRef": "hf:acme/tiny", "destination": {"claimName": "other"}}, "ClaimNotMounted"),
    "volume-away": ({"modelRef": "hf:acme/tiny", "destination": {"claimName": "away"}}, "VolumeNotWritable"),
    "volume-exchanged": ({"modelRef": "hf:acme/tiny", "destination": {"claimName": "exchanged"}}, "VolumeChanged"),
    "volume-of-a-later-version": (
        {"modelRef": "hf:acme/tiny", "destination": {"claimName": "later"}},
        "VolumeUnsuitable",
    ),
    "endpoint-not-allowed": ({"modelRef": "hf:acme/tiny", "endpoint": "https://hub.example"}, "AddressNotAllowed"),
    "endpoint-unknown": ({"modelRef": "hf:acme/tiny", "endpoint": "https://hub.invalid"}, "NameResolutionFailed"),
    "endpoint-not-verified": ({"modelRef": "hf:acme/tiny", "endpoint": "<stranger>"}, "TLSVerificationFailed"),
    "endpoint-busy": ({"modelRef": "hf:acme/tiny", "endpoint": "<busy>"}, "SourceUnavailable"),
    "endpoint-limits": ({"modelRef": "hf:acme/tiny", "endpoint": "<limiter>"}, "RateLimited"),
}
"""By name: the spec, and the expected reason of Ready. `<…>` stands for the address of another hub."""

TOO_SMALL = "volume-too-small"

_VOLATILE = frozenset(
    {"lastTransitionTime", "lastUpdateTime", "startTime", "completionTime", "nextRetryTime", "storeID"}
)
_FREE = re.compile(r"\S+ [KMGT]iB (?=are free|free)")
_STORE = re.compile(r"(?<=on store )[0-9a-f-]{36}")


def test_what_becomes_of_each_object_is_its_golden(bench: Stand, tmp_path: Path) -> None:
    _fill(bench, tmp_path)
    with _other_hubs() as hubs:
        names = {hub.endpoint: name for name, hub in hubs.items()}
        names |= {bench.hub.endpoint: "hub", bench.namespace: "namespace", str(tmp_path): "directory"}
        bench.start_operator(*_flags(bench, hubs, tmp_path))
        for case, (spec, _) in CASES.items():
            bench.apply(case, **_addressed(spec, hubs))
        _exchange(bench, tmp_path / "exchanged")
        ended = {case: bench.until(case, reason) for case, (_, reason) in CASES.items()}
    # Its bytes are fetched twice, which counts as two attempts only if progress was reported in between.
    assert ended["digest-mismatch-at-the-end"]["status"].pop("attempts") in {1, 2}
    for case, document in ended.items():
        assert_golden("cluster", case, _without_what_changes(document, names))


def test_what_becomes_of_an_object_on_a_volume_that_is_too_small_is_its_golden(bench: Stand, tmp_path: Path) -> None:
    bench.hub.repository("acme/large").add("large.Q4_K_M.gguf", tiny_gguf(size=16 * MIB))
    with small_volume(tmp_path / "small", 8 * MIB) as small:
        bench.start_operator(f"--store={bench.namespace}/small={small}")
        bench.apply(TOO_SMALL, modelRef="hf:acme/large", destination={"claimName": "small"})
        document = bench.until(TOO_SMALL, "InsufficientStorage")
        bench.stop()
    assert_golden("cluster", TOO_SMALL, _without_what_changes(document, {}))


def test_every_golden_of_an_object_is_used() -> None:
    assert_all_used("cluster", [*CASES, TOO_SMALL])


def _fill(bench: Stand, directory: Path) -> None:
    hub = bench.hub
    hub.repository("acme/plain").add("plain.gguf", tiny_gguf(seed=2), lfs=False)
    hub.repository("acme/other").add("other.Q4_K_M.gguf", tiny_gguf(seed=3))
    hub.repository("acme/damaged").add("damaged.Q4_K_M.gguf", tiny_gguf(seed=5))
    hub.corrupt("damaged.Q4_K_M.gguf", 50_000)
    hub.repository("acme/page").add("page.Q4_K_M.gguf", b"<!doctype html><title>login</title>" * 1000)
    hub.repository("acme/pieces").add("pieces.Q8_0.gguf-split-a", b"GGUF")
    hub.repository("acme/gated", gated=True).add("gated.Q4_K_M.gguf", tiny_gguf())
    hub.tokens.add("hf_stranger")
    split, half, many = (hub.repository(f"acme/{name}") for name in ("split", "half", "many"))
    parts = write_split(directory, "split.Q4_K_M", 2, size=64 * 1024)
    for part in parts:
        split.add(part.name, part)
    half.add(parts[0].name, parts[0])
    for quantization in ("Q5_K_M", "Q6_K"):
        many.add(f"many.{quantization}.gguf", tiny_gguf())
    for name, data in (("stranger", {"token": "hf_stranger"}), ("expired", {"token": "hf_old"}), ("empty", {"a": "b"})):
        bench.secret(name, data)
    local = bench.volume / "local"
    local.mkdir()
    (local / "by-hand.gguf").write_bytes(tiny_gguf(seed=4))
    (local / "link.gguf").symlink_to("by-hand.gguf")


def _exchange(bench: Stand, volume: Path) -> None:
    """Mounts another volume while the model is Ready. The next check of its files notices it."""
    bench.until("volume-exchanged", "Available")
    volume.rename(volume.with_name("another"))
    volume.mkdir()
    bench.patch("volume-exchanged", annotations={"models.rbee.dev/verifyAt": "now"})


@contextmanager
def _other_hubs() -> Iterator[dict[str, Hub]]:
    """Hubs by name. The certificate of `stranger` is not trusted."""
    with Hub() as stranger, Hub() as busy, Hub() as limiter:
        busy.fail(503, None, where="api")
        limiter.fail(429, None, where="api", headers={"Retry-After": "600"})
        yield {"stranger": stranger, "busy": busy, "limiter": limiter}


def _flags(bench: Stand, hubs: dict[str, Hub], directory: Path) -> list[str]:
    (directory / "exchanged").mkdir()
    later = directory / "later" / ".provisioner"
    later.mkdir(parents=True)
    (later / "store.json").write_text('{"layout": 99, "id": "of-a-later-version"}')
    authorities = directory / "authorities.pem"
    known = (bench.hub, hubs["busy"], hubs["limiter"])
    authorities.write_bytes(b"".join(hub.ca_file.read_bytes() for hub in known))
    hosts = ["hub.invalid:443", *(hub.host_port for hub in hubs.values())]
    return [
        *(f"--store={bench.namespace}/{claim}={directory}/{claim}" for claim in ("later", "away", "exchanged")),
        *(f"--allow-host={host}" for host in hosts),
        f"--ca-file={authorities}",
    ]


def _addressed(spec: Spec, hubs: dict[str, Hub]) -> Spec:
    name = spec.get("endpoint", "").strip("<>")
    return {**spec, "endpoint": hubs[name].endpoint} if name in hubs else spec


def _without_what_changes(document: Document, names: dict[str, str]) -> Document:
    """The object without the fields that the API server sets, and with placeholders for what differs in each run."""
    metadata = {key: document["metadata"][key] for key in ("name", "generation")}
    return {**document, "metadata": metadata, **{key: _masked(document[key], names) for key in ("spec", "status")}}


def _masked(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: f"<{key}>" if key in _VOLATILE else _masked(item, names) for key, item in value.items()}
    if isinstance(value, str):
        for text, name in names.items():
            value = value.replace(text, f"<{name}>")
        return _STORE.sub("<storeID>", _FREE.sub("<free> ", value))
    return [_masked(item, names) for item in value] if isinstance(value, list) else value
