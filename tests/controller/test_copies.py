"""Worker pods get what is published on a claim of the operator from the operator, on a real API server.

The hub of the test counts the bytes that it sends. The pods are real processes, and the operator is one.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.support.ggufs import write_gguf
from tests.support.pod_node import PodNode
from tests.support.programs import Program, eventually, free_port
from tests.support.stand import Document, Stand

MIB = 1024**2
SIZE = 24 * MIB
FILE = "large.Q4_K_M.gguf"
PATH = f"hf/acme/large/{FILE}"
REF = "hf:acme/large"


@dataclass
class Team:
    """A namespace with the claim `team`, which the operator does not mount."""

    site: Stand
    node: PodNode
    claim: Path

    def apply(self, name: str = "large", **spec: object) -> None:
        self.site.apply(name, **{"modelRef": REF, "destination": {"claimName": "team"}, **spec})

    def messages(self, name: str = "large") -> str:
        """Those of all versions of the object."""
        found = (version.get("status") or {} for version in self.site.history.of(name))
        return "\n".join(one["message"] for status in found for one in status.get("conditions") or ())


@dataclass
class Copying:
    """A stand whose claim `models` the operator mounts, with a model in its hub; `teams` do not share that claim."""

    bench: Stand
    teams: list[Team]
    model: Path
    address: str = field(default_factory=lambda: f"127.0.0.1:{free_port()}")

    def start(self, *flags: str, copying: bool = True) -> Program:
        workers = [
            f"--worker-listen={self.address}",
            f"--worker-connect={self.address}",
            "--worker-image=example/mp:1",
            *(["--worker-copy-from-cluster"] if copying else []),
        ]
        served = [self.bench.namespace, *(team.site.namespace for team in self.teams)]
        return self.bench.start_operator(*workers, *(f"--watch-namespace={one}" for one in served), *flags)

    def publish(self, **spec: object) -> Document:
        """The model is on the claim of the operator, and the hub has sent it once."""
        self.bench.apply("large", modelRef=REF, **spec)
        return self.bench.until("large", "Available")

    @property
    def size(self) -> int:
        return self.model.stat().st_size

    @property
    def sent(self) -> int:
        """How many bytes of the model the hub has sent."""
        return self.bench.hub.bytes_sent(FILE)

    @property
    def origin(self) -> str:
        return f"from the cluster: claim {self.bench.namespace}/models"

    def is_there(self, team: Team) -> bool:
        return (team.claim / PATH).read_bytes() == self.model.read_bytes()


@pytest.fixture
def copying(bench: Stand, cluster: Cluster, tmp_path: Path) -> Iterator[Copying]:
    model = write_gguf(tmp_path / "large.gguf", size=SIZE)
    bench.hub.repository("acme/large").add(FILE, model)
    with contextlib.ExitStack() as closing:
        teams = []
        for number in (1, 2):
            site = closing.enter_context(bench.neighbour(f"{bench.namespace}-{number}"))
            logs, claim = tmp_path / f"logs-{number}", tmp_path / f"team-{number}"
            logs.mkdir()
            claim.mkdir()
            node = closing.enter_context(PodNode(cluster, site.namespace, logs, {"team": claim}))
            teams.append(Team(site, node, claim))
        yield Copying(bench, teams, model)


def test_one_download_serves_the_claims_of_other_namespaces(copying: Copying) -> None:
    copying.start()
    copying.publish()
    assert copying.sent == copying.size
    for team in copying.teams:
        team.apply()
    for team in copying.teams:
        status = team.site.until("large", "Available")["status"]
        assert copying.is_there(team)
        assert (status["attempts"], status["progress"]["bytes"]) == (1, copying.size)
        assert team.site.ready("large")["message"] == f"verified and published at {PATH}; {copying.origin}"
    assert copying.sent == copying.size + len(copying.teams), "of the hub came a byte each, which proves access"


def slowly(copying: Copying, team: Team) -> None:
    """Until a part of the model is copied, and the status says so."""
    team.apply(maxBytesPerSecond="2Mi")
    eventually(lambda: team.site.get("large").get("status", {}).get("progress", {}).get("bytes", 0) > MIB, "progress")
    assert copying.origin in team.site.ready("large")["message"]


def test_a_file_that_is_deleted_meanwhile_is_fetched_on_from_the_hub(copying: Copying) -> None:
    copying.start()
    copying.publish(reclaimPolicy="Delete")
    before, team = copying.sent, copying.teams[0]
    slowly(copying, team)
    copying.bench.delete("large")
    copying.bench.until_gone("large")
    assert not (copying.bench.volume / PATH).exists()
    team.site.patch("large", {"maxBytesPerSecond": None})
    status = team.site.until("large", "Available")["status"]
    assert copying.is_there(team)
    assert status["attempts"] == 1, "the bytes that had been copied are kept"
    assert team.site.ready("large")["message"].endswith(f"; in part {copying.origin}")
    assert MIB < copying.sent - before < copying.size


def test_wrong_bytes_on_the_volume_are_found_out_and_fetched_from_the_hub(copying: Copying) -> None:
    copying.start()
    copying.publish()
    before, team, path = copying.sent, copying.teams[0], copying.bench.volume / PATH
    found = path.stat()
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.seek(SIZE // 2)
        file.write(b"wrong")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))  # or its record would not confirm it any more
    team.apply()
    team.site.until("large", "Available")
    assert copying.is_there(team)
    assert copying.sent - before == copying.size + 1, "one byte for the offer of the copy, and then the whole file"


def test_a_token_that_the_hub_refuses_gets_no_byte(copying: Copying) -> None:
    repository = copying.bench.hub.repository("acme/large", private=True)
    repository.add(FILE, copying.model)
    copying.bench.secret("good", {"token": "hf_good"})
    copying.start()
    copying.publish(credentialsSecretRef={"name": "good"})
    before = copying.sent
    refused, accepted = copying.teams
    refused.site.secret("bad", {"token": "hf_bad"})
    refused.apply(credentialsSecretRef={"name": "bad"})
    refused.apply("anonymous")
    refused.site.until("large", "AccessDenied")
    refused.site.until("anonymous", "SourceNotFound")
    assert not list(refused.claim.rglob("*.gguf"))
    assert copying.sent == before
    assert "from the cluster" not in refused.messages() + refused.messages("anonymous")

    accepted.site.secret("good", {"token": "hf_good"})
    accepted.apply(credentialsSecretRef={"name": "good"})
    accepted.site.until("large", "Available")
    assert copying.is_there(accepted)
    assert copying.sent == before + 1


def test_equal_bytes_of_another_repository_are_fetched_from_there(copying: Copying) -> None:
    """A repository can claim any digest. Its hub alone says who may have what it has."""
    copying.bench.hub.repository("other/large").add("same.Q4_K_M.gguf", copying.model)
    copying.start()
    copying.publish()
    team = copying.teams[0]
    team.apply(modelRef="hf:other/large")
    team.site.until("large", "Available")
    assert copying.bench.hub.bytes_sent("same.Q4_K_M.gguf") == copying.size
    assert copying.sent == copying.size
    assert "from the cluster" not in team.messages()


def test_without_the_flag_each_claim_is_served_by_the_hub(copying: Copying) -> None:
    copying.start(copying=False)
    copying.publish()
    team = copying.teams[0]
    team.apply()
    team.site.until("large", "Available")
    assert copying.sent == 2 * copying.size
    assert "from the cluster" not in team.messages()
