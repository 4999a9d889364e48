"""A real volume that becomes full during a download: reported in seconds with the numbers, and resumed without help."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from model_provisioner.domain.errors import InsufficientStorage
from tests.faults.campaign import LONG, points
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.support.stand import stand
from tests.support.volumes import small_volume
from tests.transfer.bench import MODEL, NAME, Bench

MIB = 1024**2
SIZE = 12 * MIB
STEP = 128 * 1024  # the smallest write
TOLD_SECONDS = 5 if LONG else 30  # other tests may delay it
BOTH = r"No space left on device.*needs \d.* more and the volume has \d.* free"


def fill(root: Path, leave: int) -> Path:
    """A file that leaves about `leave` bytes of the volume free; less if another process writes at the same time."""
    facts = os.statvfs(root)
    ballast = root / "ballast"
    with ballast.open("wb", buffering=0) as file:  # a single write, which takes what is left when that is less
        file.write(bytes(max(0, facts.f_bavail * facts.f_frsize - leave)))
    return ballast


async def test_a_disk_that_is_full_at_any_position_is_told_and_recovered_from(hub: Hub, tmp_path: Path) -> None:
    """The volume is filled after the check of its free space, with a little more left in each round."""
    content = tiny_gguf(size=SIZE)
    hub.repository(NAME).add(MODEL, content)
    for left in points(range(0, SIZE - STEP, STEP), sample=12):
        with small_volume(tmp_path / f"small-{left}", 2 * SIZE) as root:
            bench, sent = Bench(hub, root), hub.bytes_sent()
            gate = hub.pause_at(0)
            running = asyncio.create_task(bench.fetch(connections=1))
            await asyncio.to_thread(gate.wait_reached)
            ballast = fill(root, left)
            gate.release()
            started = time.monotonic()
            with pytest.raises(InsufficientStorage, match=BOTH):
                await running
            assert time.monotonic() - started < TOLD_SECONDS
            assert files_below(root) == {"ballast"}
            ballast.unlink()
            hub.clear_faults()
            assert bench.content(await bench.fetch()) == content
            assert hub.bytes_sent() - sent <= 2 * len(content)


def test_an_object_goes_on_by_itself_when_there_is_room_again(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    content = tiny_gguf(size=SIZE)
    with small_volume(tmp_path / "volume", 2 * SIZE) as root, stand(cluster, namespace, tmp_path) as bench:
        bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", content)
        gate = bench.hub.pause_at(SIZE // 2)
        bench.start_operator()
        bench.apply("tiny", modelRef="hf:acme/tiny")
        gate.wait_reached()
        ballast = fill(root, leave=0)
        gate.release()
        status = bench.until("tiny", "InsufficientStorage", TOLD_SECONDS)["status"]
        conditions = {one["type"]: one for one in status["conditions"]}
        assert conditions["Reconciling"]["status"] == "True"
        assert "more and the volume has" in conditions["Ready"]["message"]
        assert bench.published() == ["ballast"]
        ballast.unlink()
        model = bench.until("tiny", "Available")["status"]["model"]
        assert (root / model["path"]).read_bytes() == content
        assert bench.hub.bytes_sent() <= 2 * len(content)
