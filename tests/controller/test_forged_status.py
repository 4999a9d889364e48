"""A status that an editor forged while no operator ran: the volume is believed, and no neighbour is hurt."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.models import private_files
from tests.support.programs import eventually
from tests.support.stand import Stand

TINY, OTHER = "hf/acme/tiny/tiny.Q4_K_M.gguf", "hf/acme/tiny/tiny.Q8_0.gguf"
FOREIGN_STORE = "0" * 32

Status = dict[str, Any]


def forge(bench: Stand, name: str, change: Callable[[Status], None], of: str | None = None) -> None:
    """Writes the status of `name`, or of the object `of`, with `change` applied, through the status subresource."""
    status = copy.deepcopy(bench.get(of or name)["status"])
    change(status)
    bench.history.forged.add(name)
    bench.cluster.api.merge(f"{bench.path(name)}/status", {"status": status})


def at(path: str, **file: Any) -> Callable[[Status], None]:
    """Moves the only file to `path`."""

    def change(status: Status) -> None:
        status["model"] |= {"path": path} | ({"digest": file["digest"]} if "digest" in file else {})
        status["model"]["files"][0] |= {"path": path, **file}

    return change


def without_files(status: Status) -> None:
    status["model"] |= {"path": "hf/acme/none/none.gguf", "files": []}


def in_another_store(status: Status) -> None:
    status["model"]["storeID"] = FOREIGN_STORE


FORGERIES: dict[str, Callable[[Status], None]] = {
    "a path outside": at("../../etc/passwd.gguf"),
    "a private path": at(".provisioner/store.gguf"),
    "a path of no source": at("elsewhere/model.gguf"),
    "a path that differs from that of its file": lambda status: status["model"].update(path="hf/acme/x/x.gguf"),
    "a file that is not there": at("hf/acme/tiny/none.gguf"),
    "no file": without_files,
    "the digest of other bytes": at(TINY, digest="sha256:" + "0" * 64),
    "another store": in_another_store,
    "a time of a wrong form": lambda status: status.update(startTime="2026-01-01T00:00:00x1z"),
    "a number that is too large": lambda status: status.update(attempts=2**31 - 1),
}


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same store", "another store"])
def test_a_forged_ready_model_is_brought_again_and_its_neighbour_stays_as_it_is(bench: Stand, elsewhere: bool) -> None:
    """One operator for all forgeries of one store: each is in the status of an object of its own.

    With lost files and another store at one time, the operator would wait for a decision.
    """
    operator = bench.start_operator()
    changes = [change for forgery, change in FORGERIES.items() if (forgery == "another store") == elsewhere]
    forged = {f"forged-{number}": change for number, change in enumerate(changes)}
    for name in (*forged, "neighbour"):
        bench.apply(name, modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
        honest = bench.until(name, "Available")["status"]["model"]
    operator.kill()
    for name, change in forged.items():
        forge(bench, name, change)
    seen = set[str]()
    bench.start_operator()

    def is_restored(name: str) -> bool:
        found = bench.get(name)
        return bool(found["status"].get("model") == honest) and bench.ready(name)["status"] == "True"

    def are_restored() -> bool:
        seen.update(path for key, path in bench.catalog().items() if key.endswith(".path"))
        return all(map(is_restored, forged))

    eventually(are_restored, "they are Ready with their own model again")
    bench.apply("newcomer", modelRef="hf:acme/tiny:Q8_0")
    bench.until("newcomer", "Available")
    assert seen == {TINY}
    assert bench.history.reasons("neighbour")[-1] == "Available"
    assert "VolumeChanged" not in bench.history.reasons("neighbour")
    assert "DigestMismatch" not in bench.history.reasons("neighbour")
    assert bench.published() == [TINY, OTHER]


@pytest.mark.parametrize("claimed", [TINY, OTHER])
def test_a_forged_ready_object_earns_no_record_and_its_deletion_removes_no_file_of_others(
    bench: Stand, claimed: str
) -> None:
    """It has no record. One file is held by its neighbour, the other one by no object, and has other bytes."""
    operator = bench.start_operator()
    bench.apply("neighbour", modelRef="hf:acme/tiny:Q4_K_M")
    size = bench.until("neighbour", "Available")["status"]["model"]["sizeBytes"]
    operator.kill()
    if claimed == OTHER:
        (bench.volume / OTHER).write_bytes(bytes(size))
    bench.hub.down()
    bench.apply("forged", modelRef="hf:acme/none", reclaimPolicy="Delete")
    forge(bench, "forged", at(claimed, digest="sha256:" + "1" * 64), of="neighbour")
    before = private_files(bench.volume, "holders")
    bench.start_operator()
    eventually(lambda: bench.ready("forged")["status"] == "False", "it is not Ready")
    assert "forged.path" not in bench.catalog()
    eventually(lambda: private_files(bench.volume, "holders") == before, "no record is added; one may be written anew")
    bench.delete("forged")
    bench.until_gone("forged")
    assert (bench.volume / claimed).exists()
    assert bench.published() == sorted({TINY, claimed})
    assert bench.ready("neighbour")["status"] == "True"


def test_a_deletion_with_a_forged_store_removes_the_files_of_the_object(bench: Stand) -> None:
    operator = bench.start_operator()
    bench.apply("forged", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.until("forged", "Available")
    operator.kill()
    forge(bench, "forged", in_another_store)
    bench.delete("forged")
    bench.start_operator()
    bench.until_gone("forged")
    assert bench.published() == []
    assert private_files(bench.volume, "holders") == set()
