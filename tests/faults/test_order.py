"""The order of a real worker's system calls, from the holder's record to the answer `published`."""

import asyncio
import re
import subprocess
from pathlib import Path

import pytest

from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.worker_protocol.messages import Published, Settle, Settled
from tests.support import tools
from tests.support.ggufs import write_split
from tests.support.hub import Hub
from tests.transfer.bench import HOLDER, NAME, REF, Bench
from tests.transfer.worker_process import WorkerProcess, command, fetch_request

MIB = 1024**2
CALLS = "pwrite64,write,fdatasync,fsync,renameat,renameat2,rename,fchmod,unlinkat,ftruncate"
# strace may split a call of one thread around a call of another thread; the line with its result counts.
DONE = re.compile(
    r"^(?P<pid>\d+) +(?:<\.\.\. (?P<resumed>\w+) resumed>|(?P<name>\w+)\()(?P<rest>.*?)(?:= (?P<result>-?\d+).*)?$"
)


def trace(hub: Hub, root: Path, log: Path) -> list[tuple[str, str]]:
    """A worker's system calls while it fetches a model: names and arguments, in the order in which they return."""
    plan = asyncio.run(Bench(hub, root).resolve(REF))
    strace = ["strace", "-f", "-y", "-s", "4000", "-o", str(log), "-e", f"trace={CALLS}"]
    with subprocess.Popen([*strace, *command(hub)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        worker = WorkerProcess(process)
        settled = worker.ask(Settle("settle", StoreRef(str(root), None), HOLDER, plan))
        assert isinstance(settled, Settled)
        assert isinstance(worker.ask(fetch_request(root, settled.plan)), Published)
        assert process.stdin
        process.stdin.close()
        assert process.wait(60) == 0
    return parse(log)


def parse(log: Path) -> list[tuple[str, str]]:
    calls, begun = [], dict[str, str]()
    for line in log.read_text(errors="replace").splitlines():
        found = DONE.match(line)
        if found is None:
            continue
        if line.endswith("<unfinished ...>"):
            begun[found["pid"]] = found["rest"]
        elif found["result"] and int(found["result"]) >= 0:
            arguments = begun.pop(found["pid"], "") + found["rest"] if found["resumed"] else found["rest"]
            calls.append((found["resumed"] or found["name"], arguments))
    return calls


@pytest.fixture
def calls(hub: Hub, tmp_path: Path) -> list[tuple[str, str]]:
    tools.require("strace")
    repository = hub.repository(NAME)
    for part in write_split(tmp_path, "model.Q4_K_M", parts=2, size=24 * MIB):
        repository.add(part.name, part)
    (tmp_path / "volume").mkdir()
    return trace(hub, tmp_path / "volume", tmp_path / "strace.log")


def positions(calls: list[tuple[str, str]], name: str, pattern: str) -> list[int]:
    found = [n for n, (call, arguments) in enumerate(calls) if call == name and re.search(pattern, arguments)]
    assert found, f"no {name} of {pattern}"
    return found


def test_each_step_waits_until_what_it_rests_on_is_durable(calls: list[tuple[str, str]]) -> None:
    held, *recorded = positions(calls, "renameat", rf'"{HOLDER.uid}\.json"')
    (said,) = positions(calls, "write", r"event.{5}published")
    published = positions(calls, "renameat", r'parts>, "\w+\.part"')
    order = [re.findall(r"-0000(\d)-of", calls[position][1])[-1] for position in published]
    assert order == ["2", "1"], "that part 1 is there means that the model is"

    begun = positions(calls, "ftruncate", r"\.part>")[0]
    assert held < next(n for n in positions(calls, "fsync", r"holders>") if n > held) < begun
    start = begun
    for publish, record in zip(published, recorded, strict=True):
        check_file(calls, start, publish, record)
        start = record
    durable = next(n for n in positions(calls, "fsync", r"holders>") if n > recorded[-1])
    assert recorded[-1] < durable < said, "only then may anybody call it Ready"


def check_file(calls: list[tuple[str, str]], start: int, publish: int, record: int) -> None:
    """One file, between the calls `start` and `record`."""

    def within(name: str, pattern: str) -> list[int]:
        return [n for n in positions(calls, name, pattern) if start <= n <= record]

    writes, syncs = within("pwrite64", r"\.part>"), within("fdatasync", r"\.part>")
    journals = within("renameat", r'\.json\.new"')
    journals = [n for n in journals if "/parts>" in calls[n][1]]
    assert len(journals) - len(syncs) in {0, 1}, "the first one may tell that there is nothing"
    for sync, journal in zip(syncs, journals[-len(syncs) :], strict=True):
        document = [n for n in within("fsync", r"\.json\.new>") if sync < n < journal]
        assert document, "content, then the journal's own, then its name"
    (content,) = within("fsync", r"\.part>")
    named = [n for n in within("fsync", r"/volume/hf/owner/Model-GGUF>") if n > publish]
    mode = within("fchmod", r"0444")
    forgotten = within("unlinkat", r'\.json"')
    assert writes[-1] < content < publish < named[0] < mode[0] < forgotten[-1] < record
