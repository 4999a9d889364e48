"""Several connections to a hub that treats some of them badly.

Clocks run fast: a minute of waiting passes in a second or two.
"""

import asyncio
import hashlib
import time
from pathlib import Path

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import LicenseNotAccepted, TransferStalled
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.hub import Gate
from tests.support.models import files_below
from tests.transfer.bench import MODEL, NAME, Bench, Recorder, token_for

MIB = 1024 * 1024
SIZE = 128 * MIB
CONNECTION_RATE = 16 * MIB
TLS_RECORD = 16 * 1024
WATCH_SECONDS = 1.0


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("models") / "large.gguf", architecture="qwen2", size=SIZE)


def size_of(path: Path) -> int:
    return path.stat().st_size


def fast_clock(factor: float) -> Clock:
    """A clock that runs `factor` times as fast as real time."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / factor)

    return Clock(monotonic=lambda: time.monotonic() * factor, sleep=sleep, random=lambda: 0.0)


def leaping_clock() -> Clock:
    """A clock that skips long sleeps and otherwise runs as real time."""
    leapt = [0.0]

    async def sleep(seconds: float) -> None:
        if seconds > WATCH_SECONDS:
            leapt[0] += seconds
        await asyncio.sleep(0 if seconds > WATCH_SECONDS else seconds)

    return Clock(monotonic=lambda: time.monotonic() + leapt[0], sleep=sleep, random=lambda: 1.0)


class Standing(Recorder):
    """Opens `gate` after five reports of unchanged progress."""

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self.times = 0
        self._gate = gate

    def progress(self, done: int, total: int, restarts: int, received: int, wait: Wait | None = None) -> None:
        self.times += bool(self.progress_lines) and done == self.progress_lines[-1][0]
        super().progress(done, total, restarts, received, wait)
        if self.times == 5:
            self._gate.release()


def is_right(bench: Bench, path: str, large: Path) -> bool:
    return hashlib.sha256((bench.root / path).read_bytes()).digest() == hashlib.sha256(large.read_bytes()).digest()


async def test_connections_are_added_while_they_help(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.bytes_per_connection(CONNECTION_RATE)
    provided = await bench.fetch(connections=4)
    assert is_right(bench, provided.files[0].path, large)
    assert bench.hub.connections_high_water == 4


async def test_a_limit_for_all_connections_together_is_met_with_one(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.clock = Clock()
    await bench.transfer(await bench.resolve(), connections=8, bytes_per_second=16 * MIB)
    assert bench.hub.connections_high_water <= 2


async def test_that_bytes_stand_still_is_told_every_second(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, tiny_gguf(size=3 * MIB))
    bench.clock = fast_clock(20)
    gate = bench.hub.pause_at(2 * MIB)
    recorder = Standing(gate)
    await bench.fetch(recorder=recorder)
    assert recorder.times >= 5


async def test_silence_is_not_waited_for_for_ever(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, tiny_gguf(size=3 * MIB))
    bench.clock = fast_clock(30)
    bench.hub.pause_at(MIB)
    recorder = Recorder()
    with pytest.raises(TransferStalled, match="did not begin to answer within 90 seconds"):
        await bench.fetch(recorder=recorder)
    assert {wait.begun for wait in recorder.waits} == {True, False}, "the next requests begin where it stopped"
    assert not files_below(bench.root)
    bench.hub.clear_faults()
    bench.hub.clear_log()
    await bench.fetch()
    assert bench.hub.bytes_sent() <= 2 * MIB + TLS_RECORD, "what came before the silence was kept"


async def test_the_others_take_over_what_a_silent_connection_had_to_bring(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.bytes_per_connection(CONNECTION_RATE)
    bench.clock = fast_clock(4)
    gate = bench.hub.pause_at(80 * MIB, times=1)
    started = bench.clock.monotonic()
    provided = await bench.fetch(connections=4)
    assert gate.is_reached
    assert bench.clock.monotonic() - started < 85, "it was not waited for until it counts as stalled"
    assert is_right(bench, provided.files[0].path, large)
    assert bench.hub.bytes_sent() <= SIZE + 12 * MIB


async def test_a_connection_that_is_far_slower_than_the_others_is_replaced(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.bytes_per_connection(CONNECTION_RATE)
    bench.clock = fast_clock(4)
    gate = bench.hub.pause_at(20 * MIB, times=1)
    started = bench.clock.monotonic()
    provided = await bench.fetch(connections=4)
    assert gate.is_reached
    assert bench.clock.monotonic() - started < 85, "it was not waited for until it counts as stalled"
    assert is_right(bench, provided.files[0].path, large)


@pytest.mark.parametrize("status", [403, 429, 503])
async def test_refused_further_connections_leave_the_one_that_works(bench: Bench, large: Path, status: int) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.bytes_per_connection(4 * CONNECTION_RATE)
    bench.hub.fail(status, times=None, above=1)
    recorder = Recorder()
    provided = await bench.fetch(connections=8, recorder=recorder)
    assert is_right(bench, provided.files[0].path, large)
    assert bench.hub.bytes_sent() == size_of(large)
    assert sum(request.status == status for request in bench.hub.log) <= 12, "no hot loop"
    assert {restarts for _, _, restarts in recorder.progress_lines} == {0}


async def test_a_whole_file_from_a_source_that_served_parts_costs_nothing(bench: Bench, large: Path) -> None:
    """A proxy may answer that way for a moment."""
    bench.hub.repository(NAME).add(MODEL, large)
    gate = bench.hub.pause_at(40 * MIB)
    recorder = Recorder()
    running = asyncio.create_task(bench.fetch(recorder=recorder))
    await asyncio.to_thread(gate.wait_reached)
    bench.hub.fail(200, body=b"x" * 1000)
    bench.hub.reset_after(50 * MIB)
    gate.release()
    assert is_right(bench, (await running).files[0].path, large)
    assert {restarts for _, _, restarts in recorder.progress_lines} == {0}


async def test_a_refusal_in_the_middle_is_not_believed_at_once(bench: Bench, large: Path) -> None:
    await refuse_in_the_middle(bench, large, times=4)
    assert bench.hub.bytes_sent() == size_of(large)


async def test_a_refusal_that_lasts_is_believed_after_a_quarter_of_an_hour(bench: Bench, large: Path) -> None:
    bench.clock = leaping_clock()
    started = bench.clock.monotonic()
    with pytest.raises(LicenseNotAccepted):
        await refuse_in_the_middle(bench, large, times=None)
    assert 900 <= bench.clock.monotonic() - started < 3000


async def refuse_in_the_middle(bench: Bench, large: Path, times: int | None) -> None:
    bench.hub.repository(NAME, gated=True).add(MODEL, large)
    credentials = token_for(bench.hub, "hf_good")
    plan = await bench.resolve(credentials=credentials)
    gate = bench.hub.pause_at(30 * MIB)
    running = asyncio.create_task(bench.transfer(plan, credentials=credentials))
    await asyncio.to_thread(gate.wait_reached)
    bench.hub.fail(403, times=times, where="resolve", headers={"X-Error-Code": "GatedRepo"})
    bench.hub.expire_signed_urls()
    gate.release()
    assert is_right(bench, (await running).files[0].path, large)
