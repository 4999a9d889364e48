"""Several objects that ask for the same bytes on one volume: one transfer, one file, the same progress."""

from pathlib import Path

import pytest

from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.hub import Repository
from tests.support.hub.faults import Gate
from tests.support.programs import eventually
from tests.support.stand import Stand

MIB = 1024**2
SIZE = 32 * MIB
UNSAVED = 8 * MIB
"""The bytes of the first half that may be sent again: those written since the journal was last written."""
LARGE = "l.Q4_K_M.gguf"
PATH = f"hf/acme/large/{LARGE}"


@pytest.fixture
def repository(bench: Stand, tmp_path: Path) -> Repository:
    """The repository of a private model that two accounts may read."""
    made = bench.hub.repository("acme/large", private=True, tokens=frozenset({"hf_one", "hf_two"}))
    made.add(LARGE, write_gguf(tmp_path / LARGE, size=SIZE))
    for name in ("one", "two"):
        bench.secret(name, {"token": f"hf_{name}"})
    return made


@pytest.fixture
def large(bench: Stand, repository: Repository) -> Gate:
    """The gate at which the hub stops in the middle of the private model."""
    return bench.hub.pause_at(SIZE // 2, repository.name)


def ask(bench: Stand, name: str, secret: str, **spec: object) -> None:
    bench.apply(name, modelRef="hf:acme/large", credentialsSecretRef={"name": secret}, **spec)


def progress(bench: Stand, name: str) -> int:
    return int(bench.get(name).get("status", {}).get("progress", {}).get("bytes", 0))


def both_are_halfway(bench: Stand, gate: Gate) -> None:
    """Starts `one`, and then `two`, which joins its transfer."""
    ask(bench, "one", "one", reclaimPolicy="Delete")
    gate.wait_reached()
    bench.until("one", "Downloading")
    ask(bench, "two", "two", reclaimPolicy="Delete")
    bench.until("two", "Downloading")
    eventually(lambda: progress(bench, "one") == progress(bench, "two") > SIZE // 4, "they show the same bytes")


def test_two_objects_share_a_running_transfer_and_its_progress(bench: Stand, large: Gate, tmp_path: Path) -> None:
    bench.start_operator("--slots=1")
    both_are_halfway(bench, large)
    ask(bench, "stranger", "none")
    bench.until("stranger", "SecretNotFound")
    large.release()
    for name in ("one", "two"):
        status = bench.until(name, "Available")["status"]
        assert (status["attempts"], status["model"]["path"]) == (1, PATH)
    assert bench.hub.bytes_sent(LARGE) == (tmp_path / LARGE).stat().st_size
    assert "Available" not in bench.history.reasons("stranger")
    assert list(bench.catalog()) == [f"{name}.{key}" for name in ("one", "two") for key in ("claim", "json", "path")]

    bench.delete("one")
    bench.until_gone("one")
    assert bench.published() == [PATH]
    bench.delete("two")
    bench.until_gone("two")
    assert bench.published() == []


def test_all_spellings_of_a_repository_share_one_transfer_and_one_file(
    bench: Stand, repository: Repository, large: Gate, tmp_path: Path
) -> None:
    repository.former_names.add("former/name")
    bench.start_operator("--slots=1")
    ask(bench, "one", "one")
    large.wait_reached()
    refs = {"two": "hf:ACME/Large", "three": "hf:former/name@main"}
    for name, ref in refs.items():
        bench.apply(name, modelRef=ref, credentialsSecretRef={"name": "two"})
        bench.until(name, "Downloading")
    large.release()
    for name in ("one", *refs):
        done = bench.until(name, "Available")
        assert (done["status"]["model"]["path"], done["status"]["model"]["repository"]) == (PATH, repository.name)
        assert done["spec"]["modelRef"] == refs.get(name, "hf:acme/large"), "the ref stays as it is written"
    assert bench.published() == [PATH]
    assert bench.hub.bytes_sent(LARGE) == (tmp_path / LARGE).stat().st_size


@pytest.mark.parametrize("how", ["deleted", "suspended", "names no Secret any more"])
def test_when_the_one_whose_token_is_used_leaves_the_other_goes_on(
    bench: Stand, repository: Repository, large: Gate, tmp_path: Path, how: str
) -> None:
    bench.start_operator("--slots=1")
    both_are_halfway(bench, large)
    repository.tokens = frozenset({"hf_two"})
    if how == "deleted":
        bench.delete("one")
        bench.until_gone("one")
    elif how == "suspended":
        bench.patch("one", {"suspend": True})
        bench.until("one", "Suspended")
    else:
        bench.patch("one", {"credentialsSecretRef": {"name": "none"}})
        bench.until("one", "SecretNotFound")
    assert bench.ready("two")["reason"] == "Downloading"
    bench.hub.expire_signed_urls()
    large.release()
    status = bench.until("two", "Available")["status"]
    assert status["attempts"] == 1
    assert (bench.volume / PATH).read_bytes() == (tmp_path / LARGE).read_bytes()
    assert bench.hub.bytes_sent(LARGE) <= (tmp_path / LARGE).stat().st_size + UNSAVED
    if how == "suspended":
        assert bench.ready("one")["reason"] == "Suspended"
        repository.tokens = frozenset({"hf_one", "hf_two"})
        bench.patch("one", {"suspend": False})
        bench.until("one", "Available")


def test_a_token_that_is_revoked_while_its_bytes_flow_is_given_time_and_then_the_others_goes_on(
    bench: Stand, repository: Repository, large: Gate, tmp_path: Path
) -> None:
    """A hub that gave bytes before may refuse by mistake. The refusal counts after 15 minutes, here after seconds."""
    bench.start_operator("--slots=1", module="tests.support.hasty")
    both_are_halfway(bench, large)
    repository.tokens = frozenset({"hf_two"})
    bench.hub.expire_signed_urls()
    large.release()
    assert "token" in bench.until("one", "AccessDenied")["status"]["conditions"][0]["message"]
    assert bench.until("two", "Available")["status"]["attempts"] == 1
    assert (bench.volume / PATH).read_bytes() == (tmp_path / LARGE).read_bytes()
    assert bench.hub.bytes_sent(LARGE) <= (tmp_path / LARGE).stat().st_size + UNSAVED
    assert "AccessDenied" not in bench.history.reasons("two"), "it need not try again"
    assert "Available" not in bench.history.reasons("one")
    assert not any(key.startswith("one.") for key in bench.catalog())


def two_that_wait(bench: Stand) -> tuple[Repository, Gate]:
    """The private repository of `one` and `two`, which share a transfer; it waits until the gate of another is open."""
    repository = bench.hub.repository("acme/shared", private=True, tokens=frozenset({"hf_one", "hf_two"}))
    repository.add("s.Q4_K_M.gguf", tiny_gguf(seed=5))
    gate = bench.hub.pause_at(50_000, "acme/tiny")
    bench.start_operator("--slots=1")
    bench.apply("running", modelRef="hf:acme/tiny")
    gate.wait_reached()
    for name in ("one", "two"):
        bench.secret(name, {"token": f"hf_{name}"})
        bench.apply(name, modelRef="hf:acme/shared", credentialsSecretRef={"name": name})
        bench.until(name, "Queued")
    return repository, gate


def test_a_token_that_is_told_to_wait_while_its_transfer_waits_is_limited_and_the_others_goes_on(bench: Stand) -> None:
    _, gate = two_that_wait(bench)
    bench.hub.fail(429, where="resolve", path="acme/shared", headers={"Retry-After": "3600"})
    gate.release()
    bench.until("one", "RateLimited")
    bench.until("two", "Available")


def test_a_token_that_is_revoked_while_its_transfer_waits_is_refused_and_the_others_goes_on(bench: Stand) -> None:
    repository, gate = two_that_wait(bench)
    repository.tokens = frozenset({"hf_two"})
    gate.release()
    refused = bench.until("one", "AccessDenied")["status"]
    assert "token" in refused["conditions"][0]["message"]
    assert bench.until("two", "Available")["status"]["attempts"] == 1
    assert bench.hub.bytes_sent("acme/shared") == len(tiny_gguf(seed=5))
    assert "Available" not in bench.history.reasons("one")


def test_when_the_address_of_one_object_gives_wrong_bytes_that_of_the_next_is_tried(bench: Stand) -> None:
    """The branch moves between the two, and the file stays the same: each has the address of its own commit."""
    repository = bench.hub.repository("acme/shared")
    former = repository.add("s.Q4_K_M.gguf", tiny_gguf(seed=5))
    gate = bench.hub.pause_at(50_000, "acme/tiny")
    bench.start_operator("--slots=1")
    bench.apply("running", modelRef="hf:acme/tiny")
    gate.wait_reached()
    for name in ("one", "like-one"):
        bench.apply(name, modelRef="hf:acme/shared")
        bench.until(name, "Queued")
    repository.add("README.md", b"more")
    bench.apply("two", modelRef="hf:acme/shared")
    bench.until("two", "Queued")
    wrong = bytearray(tiny_gguf(seed=5))
    wrong[-1] ^= 1
    repository.damage(former, "s.Q4_K_M.gguf", bytes(wrong))
    gate.release()
    bench.until("two", "Available")
    for name in ("one", "like-one"):
        bench.until(name, "DigestMismatch")
    assert (bench.volume / "hf/acme/shared/s.Q4_K_M.gguf").read_bytes() == tiny_gguf(seed=5)
    assert "DigestMismatch" not in bench.history.reasons("two")
    twice_and_once_right = 3 * len(wrong)
    assert bench.hub.bytes_sent("acme/shared") == twice_and_once_right, "one address is not tried for each object"


def test_a_refused_object_does_not_get_what_another_has_fetched(bench: Stand) -> None:
    bench.hub.repository("acme/gated", gated=True, tokens=frozenset({"hf_good"})).add("g.Q4_K_M.gguf", tiny_gguf())
    bench.hub.tokens.add("hf_other")
    bench.secret("good", {"token": "hf_good"})
    bench.secret("other", {"token": "hf_other"})
    bench.start_operator()
    bench.apply("member", modelRef="hf:acme/gated", credentialsSecretRef={"name": "good"})
    bench.until("member", "Available")
    bench.apply("stranger", modelRef="hf:acme/gated")
    bench.apply("other", modelRef="hf:acme/gated", credentialsSecretRef={"name": "other"})
    for name in ("stranger", "other"):
        bench.until(name, "LicenseNotAccepted")
        assert "Available" not in bench.history.reasons(name)


def test_what_was_uploaded_again_under_one_name_is_published_beside_it(bench: Stand) -> None:
    repository = bench.hub.repository("acme/moving")
    repository.add("m.Q4_K_M.gguf", tiny_gguf())
    bench.start_operator()
    bench.apply("old", modelRef="hf:acme/moving")
    bench.until("old", "Available")
    commit = repository.add("m.Q4_K_M.gguf", tiny_gguf(seed=7))
    bench.apply("new", modelRef="hf:acme/moving")
    model = bench.until("new", "Available")["status"]["model"]
    assert model["path"] == f"hf/acme/moving@{commit[:12]}/m.Q4_K_M.gguf"
    assert (bench.volume / model["path"]).read_bytes() == tiny_gguf(seed=7)
    assert (bench.volume / "hf/acme/moving/m.Q4_K_M.gguf").read_bytes() == tiny_gguf()


def test_a_file_that_lay_there_is_taken_over_if_right_and_replaced_if_not(bench: Stand) -> None:
    right, wrong = "hf/acme/tiny/tiny.Q4_K_M.gguf", "hf/acme/tiny/tiny.Q8_0.gguf"
    (bench.volume / right).parent.mkdir(parents=True)
    (bench.volume / right).write_bytes(tiny_gguf())
    (bench.volume / wrong).write_bytes(bytes(len(tiny_gguf(seed=1))))
    bench.start_operator()
    for name, quantization in (("right", "Q4_K_M"), ("wrong", "Q8_0")):
        bench.apply(name, modelRef=f"hf:acme/tiny:{quantization}", reclaimPolicy="Delete")
        bench.until(name, "Available")
    assert bench.hub.bytes_sent("tiny.Q4_K_M.gguf") == 0
    assert (bench.volume / wrong).read_bytes() == tiny_gguf(seed=1)
    for name in ("right", "wrong"):
        bench.delete(name)
        bench.until_gone(name)
    assert bench.published() == [right], "what was not fetched is not deleted"
