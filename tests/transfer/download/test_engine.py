"""The engine from a plan to verified files, over TLS from a hub that fails in many ways."""

import asyncio
import hashlib
import itertools
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    DigestMismatch,
    IncompleteModel,
    InsufficientStorage,
    LicenseNotAccepted,
    NotGGUF,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.job import Job
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.store.partfile import WriterSuperseded
from tests.faults.campaign import LONG
from tests.support.ggufs import tiny_gguf, write_gguf, write_split
from tests.support.hub import Hub
from tests.support.hub.faults import Where
from tests.support.models import files_below, private_files, put
from tests.support.volumes import small_volume
from tests.transfer.bench import HOLDER, MODEL, NAME, Bench, Recorder, no_sleep, sha256, token_for

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def small() -> bytes:
    return tiny_gguf(size=3 * MIB)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough for several connections, with a header of real size."""
    return write_gguf(tmp_path_factory.mktemp("models") / "large.gguf", architecture="qwen2", size=96 * MIB)


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def size_of(path: Path) -> int:
    return path.stat().st_size


def nothing_is_left(bench: Bench) -> bool:
    return not files_below(bench.root) and not private_files(bench.root, "parts")


async def test_a_model_arrives_verified_with_what_its_header_says(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    recorder = Recorder()
    provided = await bench.fetch(recorder=recorder)
    assert bench.content(provided) == small
    assert provided.files[0].digest == sha256(small)
    assert (provided.gguf.architecture, provided.gguf.quantization) == ("llama", "Q4_K_M")
    assert recorder.verifying_lines[-1] == (len(small), len(small))
    assert not private_files(bench.root, "parts")
    assert bench.hub.bytes_sent() == provided.received == len(small)


async def test_several_connections_bring_each_byte_once(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.bytes_per_connection(16 * MIB)
    recorder = Recorder()
    provided = await bench.fetch(connections=4, recorder=recorder)
    assert provided.files[0].digest == digest_of(bench.root / provided.files[0].path) == digest_of(large)
    assert bench.hub.connections_high_water == 4
    assert bench.hub.bytes_sent() == size_of(large)
    assert [done for done, _, _ in recorder.progress_lines] == sorted(done for done, _, _ in recorder.progress_lines)


async def test_the_signed_address_is_obtained_once_for_all_connections(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    await bench.fetch(connections=4)
    assert sum("/resolve/" in request.path for request in bench.hub.log) == 1


async def test_the_first_part_of_a_split_model_is_published_last(bench: Bench, tmp_path: Path) -> None:
    repository = bench.hub.repository(NAME)
    parts = write_split(tmp_path, "model.Q4_K_M", parts=3, size=3 * MIB)
    for part in parts:
        repository.add(part.name, part)
    gate = bench.hub.pause_at(100_000, parts[0].name)
    fetching = asyncio.create_task(bench.fetch())
    await asyncio.to_thread(gate.wait_reached)
    assert {Path(path).name for path in files_below(bench.root)} == {part.name for part in parts[1:]}
    gate.release()
    provided = await fetching
    assert [Path(record.path).name for record in provided.files] == [part.name for part in parts]
    assert [record.digest for record in provided.files] == [digest_of(part) for part in parts]


async def test_a_model_that_was_cut_off_is_told_by_its_header(bench: Bench, tmp_path: Path) -> None:
    whole = write_gguf(tmp_path / "whole.gguf", size=64 * MIB).read_bytes()
    bench.hub.repository(NAME).add(MODEL, whole[: 48 * MIB])
    with pytest.raises(NotGGUF):
        await bench.fetch()
    assert bench.hub.bytes_sent() <= 16 * MIB


async def test_parts_of_different_models_are_not_published_together(bench: Bench, tmp_path: Path) -> None:
    repository = bench.hub.repository(NAME)
    first = write_split(tmp_path, "model.Q4_K_M", parts=2)[0]
    (tmp_path / "other").mkdir()
    other = write_split(tmp_path / "other", "model.Q4_K_M", parts=3)[1]
    repository.add(first.name, first)
    repository.add(first.name.replace("00001-of", "00002-of"), other)
    with pytest.raises(IncompleteModel):
        await bench.fetch()
    assert not any(first.name in path for path in files_below(bench.root))


async def test_what_is_there_and_vouched_for_is_not_fetched_again(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    first = await bench.fetch()
    bench.hub.clear_log()
    assert await bench.fetch() == replace(first, received=0, read=False)
    assert bench.hub.bytes_sent() == 0


async def test_a_right_file_that_nobody_vouches_for_is_adopted(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    put(bench.root, f"hf/{NAME}/{MODEL}", small)
    recorder = Recorder()
    provided = await bench.fetch(recorder=recorder)
    assert provided.files[0].digest == sha256(small)
    assert recorder.verifying_lines[-1] == (len(small), len(small))
    assert bench.hub.bytes_sent() == 0


@pytest.mark.parametrize("shorter_by", [0, 1])
async def test_a_wrong_file_that_nobody_vouches_for_is_replaced(bench: Bench, small: bytes, shorter_by: int) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    put(bench.root, f"hf/{NAME}/{MODEL}", small[: -1 - shorter_by] + b"x")
    assert bench.content(await bench.fetch()) == small


@pytest.mark.parametrize("right", [True, False])
async def test_a_part_that_nobody_vouches_for_is_not_yet_every_byte(bench: Bench, tmp_path: Path, right: bool) -> None:
    parts = write_split(tmp_path, "model.Q4_K_M", 2, size=MIB)
    repository = bench.hub.repository(NAME)
    for part in parts:
        repository.add(part.name, part)
    there = parts[1].read_bytes()
    put(bench.root, f"hf/{NAME}/{parts[1].name}", there if right else there[:-1] + b"x")
    recorder = Recorder()
    await bench.fetch(recorder=recorder)
    assert not recorder.verified_first
    assert (size_of(parts[1]), sum(map(size_of, parts)), 0) in recorder.progress_lines
    pairs = itertools.pairwise(recorder.progress_lines)
    assert all(now[0] >= before[0] or now[2] > before[2] for before, now in pairs), "bytes fall in a new attempt only"
    assert recorder.progress_lines[-1][2] == (0 if right else 1)


class Reaching(Recorder):
    """Sets `reached` when `size` bytes are written."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self._size = size

    def progress(self, done: int, total: int, restarts: int, received: int, wait: Wait | None = None) -> None:
        super().progress(done, total, restarts, received, wait)
        if done >= self._size:
            self.reached.set()


async def test_an_interrupted_transfer_goes_on_where_it_stopped(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.pause_at(60 * MIB)
    plan = await bench.resolve()
    before = Reaching(56 * MIB)
    running = asyncio.create_task(bench.transfer(plan, connections=2, recorder=before))
    # One connection may reach the gate long before the other one has brought its bytes.
    await asyncio.wait_for(before.reached.wait(), 60)
    written = before.progress_lines[-1][0]
    started = time.monotonic()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert time.monotonic() - started < (3 if LONG else 15), "other tests may delay it"
    with bench.store() as store:
        durable = store.files.durable_bytes(plan)
    bench.hub.clear_faults()
    bench.hub.clear_log()
    recorder = Recorder()
    provided = await bench.transfer(plan, recorder=recorder)
    assert provided.files[0].digest == digest_of(large)
    assert durable >= written
    assert bench.hub.bytes_sent() == size_of(large) - durable
    assert recorder.progress_lines[0] == (durable, size_of(large), 0)


async def test_a_broken_connection_costs_no_byte_that_came(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.reset_after(5 * MIB, times=3)
    provided = await bench.fetch()
    assert provided.files[0].digest == digest_of(large)
    assert bench.hub.bytes_sent() - size_of(large) < 10 * MIB


async def test_a_connection_that_always_breaks_but_brings_something_is_enough(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.reset_after(200_000, times=None)
    assert bench.content(await bench.fetch()) == small


async def test_a_connection_that_brings_nothing_is_given_up(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.reset_after(0, times=None)
    with pytest.raises(SourceUnavailable, match="broke"):
        await bench.fetch()
    assert sum(request.origin == "content" for request in bench.hub.log) == 3


async def test_a_source_without_ranges_is_read_in_one_stream(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.ignore_ranges()
    provided = await bench.fetch(connections=4)
    assert provided.files[0].digest == digest_of(large)
    assert bench.hub.connections_high_water == 1


async def test_without_ranges_a_broken_stream_begins_again_and_keeps_what_came(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.ignore_ranges()
    bench.hub.reset_after(40 * MIB)
    recorder = Recorder()
    provided = await bench.fetch(recorder=recorder)
    assert provided.files[0].digest == digest_of(large)
    assert {restarts for _, _, restarts in recorder.progress_lines} == {0}
    assert progress_is_monotonic_within_a_restart(recorder)


async def test_edges_that_tag_the_same_bytes_differently_cost_nothing(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.bytes_per_connection(16 * MIB)
    bench.hub.edges(2)
    recorder = Recorder()
    provided = await bench.fetch(connections=4, recorder=recorder)
    assert provided.files[0].digest == digest_of(large)
    assert bench.hub.bytes_sent() == size_of(large)
    assert {restarts for _, _, restarts in recorder.progress_lines} == {0}


def progress_is_monotonic_within_a_restart(recorder: Recorder) -> bool:
    order = [(restarts, done) for done, _, restarts in recorder.progress_lines]
    return order == sorted(order)


async def test_a_damaged_byte_is_fetched_again_once(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.corrupt(MODEL, len(small) - 10, times=1)
    recorder = Recorder()
    provided = await bench.fetch(recorder=recorder)
    assert bench.content(provided) == small
    assert recorder.progress_lines[-1][2] == 1
    assert bench.hub.bytes_sent() == provided.received >= recorder.received > len(small)


async def test_damage_that_stays_is_told_with_both_digests(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.corrupt(MODEL, len(small) - 10)
    damaged = small[:-10] + bytes([small[-10] ^ 1]) + small[-9:]
    with pytest.raises(DigestMismatch) as caught:
        await bench.fetch()
    assert sha256(small) in caught.value.message
    assert sha256(damaged) in caught.value.message
    assert bench.hub.bytes_sent() == 2 * len(small)
    assert nothing_is_left(bench)


async def test_a_file_without_published_digest_is_computed(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small, lfs=False)
    provided = await bench.fetch()
    assert provided.files[0].digest == sha256(small)
    bench.hub.clear_log()
    await bench.fetch()
    assert not any("/resolve" in request.path for request in bench.hub.log), "a record attests for it"


async def test_what_is_no_gguf_costs_one_range(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, b"<html>" + random.Random(0).randbytes(80 * MIB))
    with pytest.raises(NotGGUF, match=MODEL):
        await bench.fetch(connections=4)
    assert bench.hub.bytes_sent() <= 8 * MIB
    assert nothing_is_left(bench)


async def test_a_truncated_model_is_not_published(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small[:-MIB])
    with pytest.raises(NotGGUF, match="truncated"):
        await bench.fetch()
    assert nothing_is_left(bench)


async def test_a_volume_that_is_too_small_is_told_before_a_byte_moves(hub: Hub, tmp_path: Path, small: bytes) -> None:
    hub.repository(NAME).add(MODEL, small)
    shortage = pytest.raises(InsufficientStorage, match=r"needs 3.* the volume has 1.* free")
    with small_volume(tmp_path / "small", 2 * MIB) as root, shortage:
        await Bench(hub, root).fetch()
    assert hub.bytes_sent() == 0


async def test_a_volume_that_fills_up_is_told_at_once_and_goes_on_when_there_is_room(
    hub: Hub, tmp_path: Path, small: bytes
) -> None:
    hub.repository(NAME).add(MODEL, small)
    with small_volume(tmp_path / "small", 4 * MIB) as root:
        bench = Bench(hub, root)
        gate = hub.pause_at(MIB)
        running = asyncio.create_task(bench.fetch())
        await asyncio.to_thread(gate.wait_reached)
        ballast = root / "ballast"
        ballast.write_bytes(bytes(os.statvfs(root).f_bavail * 4096 - MIB // 2))
        gate.release()
        with pytest.raises(InsufficientStorage):
            await running
        ballast.unlink()
        assert bench.content(await bench.fetch()) == small
    assert hub.bytes_sent() <= 2 * len(small)


async def test_a_writer_that_a_newer_one_has_replaced_stops_and_publishes_nothing(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    plan = await bench.resolve()
    gate = bench.hub.pause_at(2 * MIB)
    running = asyncio.create_task(bench.transfer(plan))
    await asyncio.to_thread(gate.wait_reached)
    with bench.store() as store:
        store.files.part(plan.files[0], epoch=2).close()
    gate.release()
    with pytest.raises(WriterSuperseded):
        await running
    assert not files_below(bench.root)


async def test_a_hub_that_is_down_is_unavailable(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    plan = await bench.resolve()
    bench.hub.down()
    with pytest.raises(SourceUnavailable, match="no connection to https://127"):
        await bench.transfer(plan)


async def test_an_expired_address_is_replaced_without_losing_a_byte(bench: Bench, large: Path) -> None:
    bench.hub.repository(NAME).add(MODEL, large)
    gate = bench.hub.pause_at(4 * MIB)
    running = asyncio.create_task(bench.fetch())
    await asyncio.to_thread(gate.wait_reached)
    bench.hub.expire_signed_urls()
    gate.release()
    assert (await running).files[0].digest == digest_of(large)
    assert bench.hub.bytes_sent() == size_of(large)
    assert sum("/resolve/" in request.path for request in bench.hub.log) == 2


async def test_an_address_is_replaced_before_its_end(bench: Bench, large: Path) -> None:
    now = [time.time()]
    bench.clock = Clock(wall=lambda: now[0], sleep=no_sleep)
    bench.hub.repository(NAME).add(MODEL, large)
    bench.hub.signed_url_seconds = 600
    gate = bench.hub.pause_at(4 * MIB)
    running = asyncio.create_task(bench.fetch())
    await asyncio.to_thread(gate.wait_reached)
    now[0] += 541
    gate.release()
    await running
    assert not any(request.status == 403 for request in bench.hub.log)
    assert sum("/resolve/" in request.path for request in bench.hub.log) >= 2


async def test_a_content_host_that_refuses_new_addresses_is_unavailable(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.fail(403, times=None)
    with pytest.raises(SourceUnavailable, match=r"content host .* \(403\)"):
        await bench.fetch()


@pytest.mark.parametrize("where", ["resolve", "content"])
async def test_a_limit_of_requests_is_told_upward_with_its_time(bench: Bench, small: bytes, where: Where) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.fail(429, where=where, headers={"RateLimit": '"resolvers";r=0;t=17'})
    with pytest.raises(RateLimited) as caught:
        await bench.fetch()
    assert caught.value.retry_after == 17


@pytest.mark.parametrize("status", [500, 503, 408])
async def test_a_server_error_is_tried_again(bench: Bench, small: bytes, status: int) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.fail(status, times=2)
    assert bench.content(await bench.fetch()) == small


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Range": "bytes 1-3145728/3145728"},
        {"Content-Range": "bytes 0-9/*"},
        {"Content-Type": "multipart/byteranges; boundary=x"},
    ],
)
async def test_an_answer_with_other_bytes_is_never_written(bench: Bench, small: bytes, headers: dict[str, str]) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    bench.hub.fail(206, headers=headers, body=b"x" * 1000, times=1)
    assert bench.content(await bench.fetch()) == small


async def test_the_token_reaches_the_hub_and_nobody_else(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME, private=True).add(MODEL, small)
    credentials = token_for(bench.hub, "hf_good")
    await bench.transfer(await bench.resolve(credentials=credentials), credentials=credentials)
    seen = {(request.origin, request.authorization) for request in bench.hub.log}
    assert seen == {("api", True), ("content", False)}


async def test_access_that_is_withdrawn_is_told(bench: Bench, small: bytes) -> None:
    repository = bench.hub.repository(NAME, gated=True)
    repository.add(MODEL, small)
    credentials = token_for(bench.hub, "hf_good")
    plan = await bench.resolve(credentials=credentials)
    with pytest.raises(LicenseNotAccepted, match="accept the conditions"):
        await bench.transfer(plan)
    bench.hub.tokens.add("hf_good")
    repository.tokens = frozenset()
    with pytest.raises(LicenseNotAccepted, match="not granted"):
        await bench.transfer(plan, credentials=credentials)
    with pytest.raises(AccessDenied, match="does not accept the token"):
        await bench.transfer(plan, credentials=token_for(bench.hub, "hf_bad"))


async def test_a_local_file_is_verified_where_it_lies(bench: Bench, small: bytes) -> None:
    file = put(bench.root, "local/mine.gguf", small)
    before = file.stat()
    provided = await bench.fetch("local:mine.gguf")
    assert provided.files[0].digest == sha256(small)
    assert (file.stat().st_mode, file.stat().st_mtime_ns) == (before.st_mode, before.st_mtime_ns)


async def test_a_local_file_with_another_digest_is_refused_and_kept(bench: Bench, small: bytes) -> None:
    put(bench.root, "local/mine.gguf", small)
    plan = await bench.resolve("local:mine.gguf", digest=sha256(b"other"))
    with pytest.raises(DigestMismatch, match=sha256(small)):
        await bench.transfer(plan)
    assert files_below(bench.root) == {"local/mine.gguf"}


@pytest.mark.parametrize("start", [0, 1], ids=["holes", "a model and holes"])
async def test_a_local_file_of_holes_is_refused_before_it_is_hashed(bench: Bench, small: bytes, start: int) -> None:
    file = put(bench.root, "local/mine.gguf", small * start)
    with file.open("r+b") as opened:
        opened.truncate(12 * 1024**4)
    with pytest.raises(NotGGUF, match=r"local/mine\.gguf: (not a GGUF file|damaged: its tensors end at byte)"):
        await asyncio.wait_for(bench.fetch("local:mine.gguf"), 60)


@pytest.mark.parametrize(("after", "error"), [(b"", SourceNotFound), (b"GGUFother", SourceUnavailable)])
async def test_a_local_file_that_goes_away_or_changes(
    bench: Bench, small: bytes, after: bytes, error: type[ProvisionError]
) -> None:
    file = put(bench.root, "local/mine.gguf", small)
    plan = await bench.resolve("local:mine.gguf")
    file.unlink()
    if after:
        file.write_bytes(after)
    with pytest.raises(error):
        await bench.transfer(plan)


async def test_a_loopback_source_is_refused_unless_allowed(bench: Bench, small: bytes) -> None:
    bench.hub.repository(NAME).add(MODEL, small)
    plan = await bench.resolve()
    with bench.store() as store:
        job = Job(store.records.settle(HOLDER, plan), Limits(1), 1)
        async with open_client(NetworkSettings(ca_file=bench.hub.ca_file)) as client:
            with pytest.raises(AddressNotAllowed, match=r"127\.0\.0\.1 is a loopback address.*--allow-network"):
                await engine.provide(job, store.files, client, Recorder(), bench.clock)
    assert bench.hub.bytes_sent() == 0
