"""A cluster restored from a backup: the objects have other uids than the records on the volume. No model is lost."""

from typing import Any

import pytest

from model_provisioner import cli
from tests.support.models import private_files
from tests.support.programs import Program, eventually
from tests.support.stand import Stand

PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"


def restore(bench: Stand, operator: Program) -> str:
    """Creates the Ready object `tiny` again with its status, as Velero does, while no operator runs. Its new uid."""
    operator.kill()
    before = bench.get("tiny")
    bench.patch("tiny", finalizers=None)
    bench.delete("tiny")
    bench.until_gone("tiny")
    bench.apply("tiny", **before["spec"])
    status: dict[str, Any] = {"status": before["status"]}
    bench.cluster.api.merge(f"{bench.path('tiny')}/status", status)
    restored = bench.get("tiny")
    assert bench.ready("tiny")["status"] == "True"
    assert restored["metadata"]["uid"] != before["metadata"]["uid"]
    return str(restored["metadata"]["uid"])


def prune(bench: Stand) -> int:
    return cli.main(["prune", "--store", str(bench.volume), "--yes"])


@pytest.mark.parametrize("records", ["kept", "lost"])
def test_prune_never_deletes_a_ready_model(bench: Stand, records: str) -> None:
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
    bench.until("tiny", "Available")
    uid = restore(bench, operator)
    if records == "lost":
        for path in (bench.volume / ".provisioner/holders").iterdir():
            path.unlink()
        assert prune(bench) == 1, "no operator has confirmed the records"
        assert bench.published() == [PATH]

    bench.start_operator()
    eventually(lambda: private_files(bench.volume, "holders") >= {f"{uid}.json"}, "it gets a record")
    eventually(lambda: prune(bench) == 0, "the records are confirmed")
    assert bench.published() == [PATH]
    assert bench.ready("tiny")["status"] == "True"
    assert bench.history.reasons("tiny")[-1] == "Available"

    eventually(lambda: bench.get("tiny")["metadata"].get("finalizers"), "the operator has taken it over")
    bench.delete("tiny")
    bench.until_gone("tiny")
    assert bench.published() == ([] if records == "kept" else [PATH]), "without a record it counts as adopted"


def test_the_former_records_keep_the_files_until_the_objects_are_settled(bench: Stand) -> None:
    """Restored without its status, as Velero does by default, while the hub is down."""
    operator = bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M")
    bench.until("tiny", "Available")
    operator.kill()
    bench.patch("tiny", finalizers=None)
    bench.delete("tiny")
    bench.until_gone("tiny")
    before = private_files(bench.volume, "holders")
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M")
    bench.hub.down()
    bench.start_operator()
    bench.until("tiny", "SourceUnavailable")
    eventually(lambda: prune(bench) == 0, "the records are confirmed")
    assert private_files(bench.volume, "holders") == before
    assert bench.published() == [PATH]
