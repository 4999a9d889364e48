"""Metadata that an editor of one object writes: it never changes what a deletion does, nor what the probe says."""

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.controller.test_liveness import probed
from tests.support.ggufs import tiny_gguf
from tests.support.hasty import GRACE_SECONDS
from tests.support.programs import eventually
from tests.support.stand import Stand

GROUP = "models.rbee.dev"
NEIGHBOURS = "hf/acme/tiny/tiny.Q8_0.gguf"
KEYS = (
    "release",
    "live",
    "wake",
    "touch-dummy",
    "kopf-managed",
    "last-handled-configuration",
    "reconcileAt",
    "verifyAt",
)
MOST_BYTES = 256 * 1024  # the API server's limit of all annotations of an object, with their keys

VALUES = {
    "no JSON": "}garbage{",
    "nested too deeply": "[" * 50_000,
    "another type": '"text"',
    "fields of other types": '{"started": 5, "retries": "x", "purpose": [], "delayed": {}}',
    "no time": '{"started": "yesterday", "purpose": "delete"}',
    "done": '{"started": "2020-01-01T00:00:00", "purpose": "delete", "success": true, "retries": 1}',
    "failed": '{"started": "2020-01-01T00:00:00", "purpose": "delete", "failure": true, "retries": 1}',
    "far too late": '{"started": "2020-01-01T00:00:00", "purpose": "delete", "delayed": "2999-01-01T00:00:00"}',
}


def serving(health: Callable[[], tuple[int, str]]) -> bool:
    with contextlib.suppress(OSError):
        return bool(health())
    return False


@pytest.mark.parametrize("values", [list(VALUES)[:4], list(VALUES)[4:]], ids=["odd", "of earlier versions"])
def test_a_deletion_depends_on_no_annotation_and_the_probe_stays_healthy(
    bench: Stand, cluster: Cluster, tmp_path: Path, values: list[str]
) -> None:
    """Each value is that of an object of its own, with a file of its own. Five of them would be many for the probe."""
    hostile = {value: value.lower().replace(" ", "-") for value in values}
    for seed, name in enumerate(hostile.values()):
        bench.hub.repository(f"acme/{name}").add("m.Q4_K_M.gguf", tiny_gguf(seed=10 + seed))
    with probed(bench, cluster, tmp_path, "tests.support.hasty") as it:
        operator = it.start()
        for name in hostile.values():
            bench.apply(name, modelRef=f"hf:acme/{name}", reclaimPolicy="Delete")
        bench.apply("neighbour", modelRef="hf:acme/tiny:Q8_0")
        for name in (*hostile.values(), "neighbour"):
            bench.until(name, "Available")
        for value, name in hostile.items():
            keys = KEYS if len(VALUES[value]) < 1000 else ("release",)
            bench.patch(name, annotations={f"{GROUP}/{key}": VALUES[value] for key in keys})
            bench.patch(name, finalizers=[f"{GROUP}/operator", "example.com/other"])
            bench.delete(name)
        eventually(lambda: bench.published() == [NEIGHBOURS], "their files are removed")
        for number in range(round(GRACE_SECONDS) + 3):
            bench.patch("neighbour", {"priority": number})
            for name in hostile.values():
                bench.patch(name, annotations={"example.com/number": str(number)})
            time.sleep(1)
            assert it.health() == (200, "ok")
        operator.kill()
        it.start()
        for name in hostile.values():
            bench.patch(name, finalizers=[f for f in bench.get(name)["metadata"]["finalizers"] if "other" not in f])
        for name in hostile.values():
            bench.until_gone(name)
        eventually(lambda: serving(it.health), "the new operator serves its probe")
        assert it.health() == (200, "ok")
        assert bench.ready("neighbour")["status"] == "True"


@pytest.mark.parametrize("finalizers", ["twice", "among many", "removed"])
def test_full_annotations_odd_labels_and_finalizers_delay_no_deletion(
    bench: Stand, cluster: Cluster, tmp_path: Path, finalizers: str
) -> None:
    """The store is away at first, so that the deletion is tried several times, for which kopf changes the object."""
    own = f"{GROUP}/operator"
    lists = {"twice": [own, own], "among many": [*(f"example.com/{n}" for n in range(50)), own], "removed": []}
    with probed(bench, cluster, tmp_path, "tests.support.hasty") as it:
        it.start()
        bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M", reclaimPolicy="Delete")
        bench.until("tiny", "Available")
        bench.patch("tiny", annotations={"a": "x" * (MOST_BYTES - 1)}, labels={f"{GROUP}/tried-at": "garbage"})
        bench.patch("tiny", finalizers=lists[finalizers])
        eventually(lambda: own in (bench.get("tiny")["metadata"].get("finalizers") or ()), "the finalizer is there")
        away = bench.volume.with_name("away")
        bench.volume.rename(away)
        bench.volume.mkdir()
        bench.delete("tiny")
        time.sleep(1)
        assert it.health() == (200, "ok")
        bench.volume.rmdir()
        away.rename(bench.volume)
        eventually(lambda: bench.published() == [], "its files are removed")
        if bench.exists("tiny"):
            with contextlib.suppress(ApiError):
                bench.patch("tiny", finalizers=[])
        bench.until_gone("tiny")
        assert it.health() == (200, "ok")
