"""Hubs that `spec.endpoint` names: which may be asked, and that no file of one hub is taken for a file of another.

The hostile hub is a repository of the operator's own hub: its files lie where a hub has its answers, so that a path on
the origin of the hub is a hub of its own. Everyone who may upload a file can make one.
"""

import hashlib
import json
from pathlib import Path

import pytest

from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub, Repository
from tests.support.stand import Stand

FILE = "m.Q4_K_M.gguf"
RIGHT, WRONG = tiny_gguf(seed=1), tiny_gguf(seed=2)  # of the same size
HOSTILE = "evil/pages"


class HostileHub:
    """A repository whose files are the answers of a hub. `endpoint` is the URL of that hub."""

    def __init__(self, hub: Hub) -> None:
        self._repository = hub.repository(HOSTILE)
        self.endpoint = f"{hub.endpoint}/{HOSTILE}/resolve/main"

    def imitate(self, victim: Repository, content: bytes, *, digest: str | None) -> None:
        """Answers for the repository `victim`, at its commit, with `digest` for a file with the bytes `content`."""
        commit = victim.commit
        lfs = {"lfs": {"sha256": digest, "size": len(content)}} if digest else {}
        answer = {
            "id": victim.name,
            "sha": commit,
            "gated": False,
            "siblings": [{"rfilename": FILE, "size": len(content), **lfs}],
        }
        self._repository.add(f"api/models/{victim.name}", json.dumps(answer).encode())
        self._repository.add(f"{victim.name}/resolve/{commit}/{FILE}", content)


@pytest.fixture
def hostile(bench: Stand) -> HostileHub:
    return HostileHub(bench.hub)


def gated(bench: Stand) -> Repository:
    repository = bench.hub.repository("acme/gated", gated=True, tokens=frozenset({"hf_member"}))
    repository.add(FILE, RIGHT)
    bench.secret("member", {"token": "hf_member"})
    return repository


def without_digests(bench: Stand) -> Repository:
    """A repository whose hub publishes no digest of its file."""
    repository = bench.hub.repository("acme/plain")
    repository.omits = frozenset({"lfs"})
    repository.add(FILE, RIGHT)
    return repository


def digest_of(repository: Repository) -> str:
    commit = repository.find("main")
    assert commit
    return commit.files[FILE].sha256


def test_a_path_on_the_hubs_origin_is_no_hub_unless_it_is_listed(bench: Stand, hostile: HostileHub) -> None:
    hostile.imitate(without_digests(bench), WRONG, digest=None)
    bench.start_operator(f"--allow-endpoint={bench.hub.endpoint}/another/hub")
    endpoints = {
        "attacker": hostile.endpoint,
        "below": f"{bench.hub.endpoint}/another/hub/x",
        "above": f"{bench.hub.endpoint}/another",
        "like": f"{bench.hub.endpoint}/another/hubs",
    }
    for name, endpoint in endpoints.items():
        bench.apply(name, modelRef="hf:acme/plain", endpoint=endpoint)
        bench.until(name, "AddressNotAllowed")
        assert f"{endpoint} is no hub that may be asked" in bench.ready(name)["message"]
    assert bench.hub.log == []
    assert bench.published() == []


def test_the_hub_itself_may_be_named_in_any_spelling(bench: Stand) -> None:
    bench.start_operator()
    bench.apply("default", modelRef="hf:acme/tiny")
    bench.until("default", "Available")
    sent = bench.hub.bytes_sent()
    bench.apply("slash", modelRef="hf:acme/tiny", endpoint=f"{bench.hub.endpoint}/")
    bench.apply("plain", modelRef="hf:acme/tiny", endpoint=bench.hub.endpoint)
    paths = {bench.until(name, "Available")["status"]["model"]["path"] for name in ("default", "slash", "plain")}
    assert len(paths) == 1
    assert bench.hub.bytes_sent() == sent


def test_a_gated_file_is_not_ready_for_an_object_whose_own_hub_publishes_its_digest(
    bench: Stand, hostile: HostileHub
) -> None:
    repository = gated(bench)
    hostile.imitate(repository, WRONG, digest=digest_of(repository))
    bench.start_operator(f"--allow-endpoint={hostile.endpoint}")
    bench.apply("member", modelRef="hf:acme/gated", credentialsSecretRef={"name": "member"})
    bench.until("member", "Available")
    bench.apply("stranger", modelRef="hf:acme/gated", endpoint=hostile.endpoint)
    bench.until("stranger", "DigestMismatch")
    bench.delete("member")
    bench.until_gone("member")
    bench.apply("later", modelRef="hf:acme/gated", endpoint=hostile.endpoint)
    bench.until("later", "DigestMismatch")
    for name in ("stranger", "later"):
        assert "Available" not in bench.history.reasons(name)


def test_a_gated_transfer_that_runs_is_not_joined_from_another_hub(bench: Stand, hostile: HostileHub) -> None:
    repository = gated(bench)
    hostile.imitate(repository, WRONG, digest=digest_of(repository))
    gate = bench.hub.pause_at(len(RIGHT) // 2, "acme/gated", times=1)
    bench.start_operator(f"--allow-endpoint={hostile.endpoint}")
    bench.apply("member", modelRef="hf:acme/gated", credentialsSecretRef={"name": "member"})
    gate.wait_reached()
    bench.apply("stranger", modelRef="hf:acme/gated", endpoint=hostile.endpoint)
    bench.until("stranger", "DigestMismatch")
    gate.release()
    bench.until("member", "Available")
    assert "Available" not in bench.history.reasons("stranger")


@pytest.mark.parametrize("policy", ["Retain", "Delete"])
def test_a_file_without_a_digest_is_not_taken_from_another_hub(bench: Stand, hostile: HostileHub, policy: str) -> None:
    """Not while the other object holds it, and not after it has left its file behind."""
    hostile.imitate(without_digests(bench), WRONG, digest=None)
    bench.start_operator(f"--allow-endpoint={hostile.endpoint}")
    bench.apply("attacker", modelRef="hf:acme/plain", endpoint=hostile.endpoint, reclaimPolicy=policy)
    theirs = bench.until("attacker", "Available")["status"]["model"]["path"]
    assert (bench.volume / theirs).read_bytes() == WRONG
    if policy == "Retain":
        bench.delete("attacker")
        bench.until_gone("attacker")
    bench.apply("victim", modelRef="hf:acme/plain")
    path = bench.until("victim", "Available")["status"]["model"]["path"]
    assert path == f"hf/acme/plain/{FILE}"
    assert (bench.volume / path).read_bytes() == RIGHT
    if policy == "Delete":
        rows = {name: json.loads(bench.catalog()[f"{name}.json"]) for name in ("attacker", "victim")}
        assert rows["attacker"]["endpoint"] == hostile.endpoint
        assert "endpoint" not in rows["victim"]
        bench.delete("attacker")
        bench.until_gone("attacker")
        assert bench.published() == [path]


def forget_hubs(volume: Path, uid: str) -> None:
    """Makes the record of `uid` as earlier versions wrote it."""
    record = volume / ".provisioner" / "holders" / f"{uid}.json"
    document = json.loads(record.read_text())
    for file in document["files"]:
        del file["endpoint"]
    record.write_text(json.dumps(document))


@pytest.mark.parametrize("published", [True, False], ids=["digest published", "no digest published"])
def test_a_record_of_an_earlier_version_counts_if_a_digest_is_published(bench: Stand, published: bool) -> None:
    repository = bench.hub.repository("acme/plain")
    repository.omits = frozenset() if published else frozenset({"lfs"})
    repository.add(FILE, RIGHT)
    operator = bench.start_operator()
    bench.apply("before", modelRef="hf:acme/plain")
    before = bench.until("before", "Available")
    operator.kill()
    forget_hubs(bench.volume, before["metadata"]["uid"])
    bench.start_operator()
    bench.apply("after", modelRef="hf:acme/plain")
    path = bench.until("after", "Available", 90)["status"]["model"]["path"]
    assert (path == before["status"]["model"]["path"]) is published
    assert bench.hub.bytes_sent(FILE) == len(RIGHT) * (1 if published else 2)
    assert bench.ready("before")["reason"] == "Available"
    assert "Resolving" not in bench.history.reasons("before")[1:]


def test_a_file_that_lies_there_with_the_users_digest_is_not_passed_on_as_the_hubs(bench: Stand) -> None:
    """The hub publishes no digest: that of one object's spec says nothing about what the hub serves to another."""
    without_digests(bench)
    lies = bench.volume / "hf/acme/plain" / FILE
    lies.parent.mkdir(parents=True)
    lies.write_bytes(WRONG)
    bench.start_operator()
    digest = f"sha256:{hashlib.sha256(WRONG).hexdigest()}"
    bench.apply("attacker", modelRef="hf:acme/plain", digest=digest)
    bench.until("attacker", "Available")
    bench.apply("victim", modelRef="hf:acme/plain")
    path = bench.until("victim", "Available")["status"]["model"]["path"]
    assert (bench.volume / path).read_bytes() == RIGHT
