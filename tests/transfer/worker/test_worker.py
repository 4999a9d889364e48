"""The worker as a process: requests, kill, cancellation, the end of input, and its memory."""

import asyncio
import hashlib
import os
import select
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.plan import Plan
from model_provisioner.worker_protocol.codec import decode_answer, encode_request
from model_provisioner.worker_protocol.messages import (
    Cancel,
    Cancelled,
    Check,
    Checked,
    FailedAnswer,
    Limit,
    Progress,
    Published,
    Remove,
    Removed,
    Resolve,
    ResolvedAnswer,
    Settle,
    Settled,
    Survey,
    Surveyed,
    Sweep,
    Swept,
)
from tests.faults.campaign import LONG
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.transfer.bench import HOLDER, MODEL, NAME, REF, Bench, token_for
from tests.transfer.worker_process import WorkerProcess, command, fetch_request, worker_process

MIB = 1024 * 1024
SOON_SECONDS = 1.5 if LONG else 15.0  # other tests may delay it; what is silent is waited for much longer


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("models") / "large.gguf", size=256 * MIB)


@pytest.fixture
def plan(bench: Bench, large: Path) -> Plan:
    bench.hub.repository(NAME).add(MODEL, large)
    return asyncio.run(bench.resolve())


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def test_the_life_of_a_model_in_lines(bench: Bench) -> None:
    content = tiny_gguf()
    bench.hub.repository(NAME).add(MODEL, content)
    store = StoreRef(str(bench.root), None)
    with worker_process(bench.hub) as worker:
        resolved = worker.ask(Resolve("1", REF, bench.hub.endpoint))
        assert isinstance(resolved, ResolvedAnswer)
        settled = worker.ask(Settle("2", store, HOLDER, resolved.plan))
        assert isinstance(settled, Settled)
        assert settled.durable_bytes == 0
        published = worker.ask(fetch_request(bench.root, settled.plan))
        assert isinstance(published, Published)
        store = StoreRef(str(bench.root), settled.store_id)
        wrong = FileRecord("hf/other.gguf", 1)
        assert worker.ask(Check("4", store, (*published.files, wrong))) == Checked("4", ("hf/other.gguf",))
        assert worker.ask(Sweep("6", store, ("models",), (HOLDER.uid,))) == Swept("6", (), ())
        surveyed = worker.ask(Survey("7", store))
        assert isinstance(surveyed, Surveyed)
        assert surveyed.usage
        assert (surveyed.usage.unheld, surveyed.usage.free is not None) == (0, True)
        assert worker.ask(Remove("5", store, HOLDER.uid, delete=True)) == Removed("5", (published.files[0].path,))
    assert not files_below(bench.root)


@pytest.mark.parametrize("connections", [1, 8])
def test_kill_9_at_half_costs_little_and_nothing_that_the_journal_held(
    bench: Bench, plan: Plan, large: Path, connections: int
) -> None:
    size = large.stat().st_size
    gate = bench.hub.pause_at(size // 2)
    with worker_process(bench.hub) as worker:
        worker.send(fetch_request(bench.root, plan, connections=connections))
        gate.wait_reached()
        worker.process.kill()
    bench.hub.clear_faults()
    with bench.store() as store:
        durable = store.files.durable_bytes(plan)
    sent = bench.hub.bytes_sent()
    with worker_process(bench.hub) as worker:
        published = worker.ask(fetch_request(bench.root, plan, connections=connections, epoch=2))
        assert isinstance(published, Published)
    assert published.files[0].digest == digest_of(bench.root / plan.files[0].path) == digest_of(large)
    assert bench.hub.bytes_sent() - sent == size - durable
    assert bench.hub.bytes_sent() - size <= 64 * MIB


def test_a_sweep_and_a_survey_make_no_store(bench: Bench) -> None:
    store = StoreRef(str(bench.root), None)
    with worker_process(bench.hub) as worker:
        assert worker.ask(Sweep("1", store, ("models",), ())) == Swept("1", (), ())
        assert worker.ask(Survey("2", store)) == Surveyed("2", None)
    assert list(bench.root.iterdir()) == []


def test_a_worker_is_warm_and_lives_on_after_an_error(bench: Bench, plan: Plan) -> None:
    with worker_process(bench.hub) as worker:
        bench.hub.down()
        failed = worker.ask(fetch_request(bench.root, plan))
        assert isinstance(failed, FailedAnswer)
        assert failed.reason == "SourceUnavailable"
        bench.hub.up()
        assert isinstance(worker.ask(fetch_request(bench.root, plan)), Published)


def test_what_is_asked_for_by_a_refusal_comes_up(bench: Bench, plan: Plan) -> None:
    bench.hub.fail(429, where="resolve", headers={"Retry-After": "5"})
    with worker_process(bench.hub) as worker:
        failed = worker.ask(fetch_request(bench.root, plan))
    assert isinstance(failed, FailedAnswer)
    assert (failed.reason, failed.retry_after) == ("RateLimited", 5)


def test_a_worker_tells_what_it_waits_for_and_gives_up_after_the_time_of_its_flag(bench: Bench, plan: Plan) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, worker_process(bench.hub, "--timeout", "7") as worker:
        origin = f"http://127.0.0.1:{silent.getsockname()[1]}"
        elsewhere = replace(plan, files=(replace(plan.files[0], url=f"{origin}/{MODEL}"),))
        worker.send(fetch_request(bench.root, elsewhere))
        worker.wait_until(lambda: any(isinstance(line, Progress) and line.wait for line in worker.progress))
        failed = worker.answer()
    told = {line.wait for line in worker.progress if isinstance(line, Progress) and line.wait}
    assert told == {Wait(origin, 5, begun=False)}
    assert isinstance(failed, FailedAnswer)
    assert failed.reason == "TransferStalled"
    assert failed.message.startswith(f"{origin} did not begin to answer within 7 seconds")


def test_cancel_stops_soon_and_keeps_what_came(bench: Bench, plan: Plan, large: Path) -> None:
    gate = bench.hub.pause_at(100 * MIB)
    with worker_process(bench.hub) as worker:
        worker.send(fetch_request(bench.root, plan))
        gate.wait_reached()
        started = time.monotonic()
        assert worker.ask(Cancel("fetch")) == Cancelled("fetch")
        assert time.monotonic() - started < SOON_SECONDS
        bench.hub.clear_faults()
        assert isinstance(worker.ask(fetch_request(bench.root, plan)), Published)
    assert bench.hub.bytes_sent() - large.stat().st_size < 20 * MIB


def test_all_that_came_is_told_before_a_transfer_ends_badly(bench: Bench, plan: Plan) -> None:
    gate = bench.hub.pause_at(100 * MIB)
    with worker_process(bench.hub) as worker:
        worker.send(fetch_request(bench.root, plan))
        gate.wait_reached()
        assert worker.ask(Cancel("fetch")) == Cancelled("fetch")
        with bench.store() as store:
            assert worker.progress[-1].received == store.files.durable_bytes(plan) > 80 * MIB


@pytest.mark.parametrize(("content", "least"), [(b"<!doctype html>" * 100_000, 64 * 1024), (b"short" * 10, 50)])
def test_what_came_and_is_no_model_was_received_too(bench: Bench, content: bytes, least: int) -> None:
    bench.hub.repository(NAME).add(MODEL, content)
    with worker_process(bench.hub) as worker:
        failed = worker.ask(fetch_request(bench.root, asyncio.run(bench.resolve())))
        assert isinstance(failed, FailedAnswer)
        assert failed.reason == "NotGGUF"
        assert least <= worker.progress[-1].received <= bench.hub.bytes_sent()


def test_a_request_that_is_cancelled_at_once_is_answered(bench: Bench, plan: Plan) -> None:
    with worker_process(bench.hub) as worker:
        worker.write(encode_request(fetch_request(bench.root, plan)) + encode_request(Cancel("fetch")))
        assert worker.answer() == Cancelled("fetch")


def test_the_end_of_input_stops_soon_and_keeps_what_came(bench: Bench, plan: Plan) -> None:
    gate = bench.hub.pause_at(100 * MIB)
    with worker_process(bench.hub) as worker:
        worker.send(fetch_request(bench.root, plan))
        gate.wait_reached()
        started = time.monotonic()
        assert worker.process.stdin
        worker.process.stdin.close()
        assert worker.process.wait(60) == 0
        assert time.monotonic() - started < SOON_SECONDS
    with bench.store() as store:
        assert store.files.durable_bytes(plan) > 80 * MIB


def run_plan(bench: Bench, file: Path) -> "subprocess.Popen[bytes]":
    flags = ["--plan", str(file), *command(bench.hub)[5:]]
    return subprocess.Popen([*command(bench.hub)[:4], *flags], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_one_plan_is_carried_out_alone(bench: Bench, plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(encode_request(fetch_request(bench.root, plan)))
    with run_plan(bench, file) as process:
        answers = [decode_answer(line) for line in process.stdout or ()]
        assert process.wait(60) == 0
    assert isinstance(answers[-1], Published)
    bench.hub.repository(NAME).add("other.gguf", b"x")
    file.write_bytes(encode_request(fetch_request(bench.root / "missing", plan)))
    with run_plan(bench, file) as process:
        assert isinstance(decode_answer(list(process.stdout or ())[-1]), FailedAnswer)
        assert process.wait(60) == 1


def test_a_plan_that_is_terminated_keeps_what_came(bench: Bench, plan: Plan, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(encode_request(fetch_request(bench.root, plan)))
    gate = bench.hub.pause_at(100 * MIB)
    with run_plan(bench, file) as process:
        gate.wait_reached()
        process.terminate()
        assert process.wait(60) == 143
    with bench.store() as store:
        assert store.files.durable_bytes(plan) > 80 * MIB


@pytest.mark.parametrize(
    "content", [b"", b'{"op": "fetch", "credentials": {"token": "hf_canary"}}', b'{"op":"cancel","id":"1"}']
)
def test_a_file_that_holds_no_plan_is_told_without_showing_it(bench: Bench, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "plan.json"
    file.write_bytes(content)
    with run_plan(bench, file) as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"fetch" in said
    assert b"canary" not in said


def test_a_worker_dies_with_its_parent(bench: Bench, tmp_path: Path) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux has PDEATHSIG; elsewhere the end of input does it")
    # A sleeping process inherits the parent's end of the pipe, so that the worker does not get the end of input.
    script = (
        "import os, subprocess, sys, time\n"
        "reading, writing = os.pipe()\n"
        "sleeper = subprocess.Popen(['sleep', '30'], pass_fds=[writing])\n"
        f"worker = subprocess.Popen({command(bench.hub)!r}, stdin=reading, stdout=subprocess.PIPE)\n"
        f"os.write(writing, {encode_request(Cancel('0')) + b'not a request' + bytes([10])!r})\n"
        f"os.write(writing, {encode_request(Check('1', StoreRef(str(tmp_path), None), ()))!r})\n"
        "worker.stdout.readline()\n"
        "print(worker.pid, sleeper.pid, flush=True)\n"
        "time.sleep(30)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        worker, sleeper = map(int, parent.stdout.readline().split())
        watched = os.pidfd_open(worker)
        parent.kill()
    try:
        assert select.select([watched], [], [], 20)[0], "the worker outlives its parent"
    finally:
        os.close(watched)
        os.kill(sleeper, 9)


def test_a_line_that_is_no_request_is_left_out(bench: Bench) -> None:
    store = StoreRef(str(bench.root), None)
    with worker_process(bench.hub) as worker:
        worker.write(b'{"op": "unheard of", "token": "hf_canary"}\nnonsense\n\n')
        assert worker.ask(Check("1", store, ())) == Checked("1", ())


def test_progress_grows_and_comes_seldom(bench: Bench, plan: Plan, large: Path) -> None:
    started = time.monotonic()
    with worker_process(bench.hub) as worker:
        assert isinstance(worker.ask(fetch_request(bench.root, plan, bytes_per_second=256 * MIB)), Published)
        elapsed = time.monotonic() - started
        lines = [line for line in worker.progress if isinstance(line, Progress)]
    assert 1 < len(lines) <= elapsed / 0.2 + 2
    assert [line.bytes for line in lines] == sorted(line.bytes for line in lines)
    assert {line.total for line in lines} == {large.stat().st_size}


def test_a_limit_is_changed_while_bytes_move(bench: Bench, plan: Plan) -> None:
    """With the first limit the transfer takes minutes."""
    with worker_process(bench.hub) as worker:
        worker.send(fetch_request(bench.root, plan, bytes_per_second=MIB))
        worker.wait_for_progress()
        worker.send(Limit("unknown", 1, 1))
        worker.send(Limit("fetch", 4, None))
        assert isinstance(worker.answer(), Published)


def test_a_pipe_that_nobody_reads_does_not_stop_the_transfer(bench: Bench) -> None:
    """The pipe is full before the transfer begins, so only the published file shows that the transfer went on."""
    bench.hub.repository(NAME).add(MODEL, tiny_gguf(size=3 * MIB))
    plan = asyncio.run(bench.resolve())
    store = StoreRef(str(bench.root), None)
    missing = tuple(FileRecord(f"hf/{'x' * 200}{number}.gguf", 1) for number in range(1000))
    with subprocess.Popen(command(bench.hub), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdin
            for number in range(5):
                process.stdin.write(encode_request(Check(str(number), store, missing)))
            process.stdin.write(encode_request(fetch_request(bench.root, plan)))
            process.stdin.flush()
            deadline = time.monotonic() + 60
            while not files_below(bench.root):
                assert time.monotonic() < deadline, "nothing was published"
                time.sleep(0.01)
        finally:
            process.kill()


@pytest.mark.parametrize(("connections", "most"), [(1, 60 * MIB), (8, 64 * MIB)])
def test_a_worker_that_moves_bytes_is_small(bench: Bench, plan: Plan, connections: int, most: int) -> None:
    bench.hub.bytes_per_connection(12 * MIB if connections > 1 else None)  # for more to be opened
    with worker_process(bench.hub) as worker:
        assert isinstance(worker.ask(fetch_request(bench.root, plan, connections=connections)), Published)
        assert worker.peak_bytes <= most
    assert bench.hub.connections_high_water >= connections / 2


def test_a_token_is_in_no_line_and_no_log(hub: Hub, bench: Bench, tmp_path: Path) -> None:
    content = tiny_gguf(size=3 * MIB)
    hub.repository(NAME, private=True, tokens=frozenset({"hf_canary"})).add(MODEL, content)
    credentials = token_for(hub, "hf_canary")
    plan = asyncio.run(bench.resolve(credentials=credentials))
    hub.reset_after(MIB, times=2)
    hub.fail(403, times=1)
    lines = [
        encode_request(fetch_request(bench.root, plan, credentials=credentials)),
        encode_request(Resolve("2", REF, hub.endpoint, credentials=credentials)),
        encode_request(Resolve("3", "hf:owner/missing", hub.endpoint, credentials=credentials)),
        b'{"op": "fetch", "token": "hf_canary"}\n',
    ]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command(hub), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log)
        with process:
            worker = WorkerProcess(process)
            for line in lines:
                worker.write(line)
            answers = [worker.answer() for _ in range(3)]
            assert process.stdin
            process.stdin.close()
            process.wait(60)
    log_text = (tmp_path / "log").read_text()
    assert sum(isinstance(answer, Published | ResolvedAnswer) for answer in answers) == 2
    assert "not a request" in log_text
    assert "hf_canary" not in log_text + repr(answers) + repr(worker.progress)
