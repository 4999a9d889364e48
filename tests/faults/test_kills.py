"""`kill -9` of a fetcher at random points: journalled bytes are never fetched again, whatever the source is."""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.store import partfile
from model_provisioner.worker_protocol.messages import AddressGiven, AddressWanted, Answer, Published
from tests.faults.campaign import LONG, randomness, say
from tests.support.front import Front, in_thread
from tests.support.ggufs import write_gguf
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.support.sites import SITES
from tests.transfer.bench import MODEL, NAME, Bench
from tests.transfer.sources.web import fetcher
from tests.transfer.worker_process import WorkerProcess, fetch_request, worker_process

MIB = 1024**2
SIZE = 64 * MIB
KILLS = 200 if LONG else 15
KILLS_OF_EACH = 60 if LONG else 4  # of the sources besides hubs
BOUND = 64 * MIB  # bytes that one kill may cost
RESUME_SECONDS = 5 if LONG else 30  # other tests may delay a start
LONGEST_LIFE_SECONDS = 20 if LONG else 120
CONNECTIONS = (1, 4, 8)


@dataclass(frozen=True)
class Source:
    """Where the file of `plan` comes from. `sent` is how many bytes were sent, `asked` for which ranges (first, last).

    `locate` tells where the file is now, if it is signed.
    """

    plan: Plan
    sent: Callable[[], int]
    asked: Callable[[], list[tuple[int, int]]]
    credentials: Credentials | None = None
    locate: Callable[[PlannedFile], Address] | None = None


@dataclass
class Campaign:
    """The results of all kills, over all files that were fetched meanwhile. Workers trust the certificate of `hub`."""

    hub: Hub
    source: Source
    root: Path
    content: Path
    random: random.Random
    kills: int = 0
    published: int = 0
    longest_resume: float = 0
    losses: list[int] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        return self.source.plan

    @property
    def file(self) -> PlannedFile:
        return self.plan.files[0]

    def begin(self, worker: WorkerProcess, connections: int) -> None:
        mine = self.source.credentials
        worker.send(
            fetch_request(self.root, self.plan, connections=connections, epoch=self.kills + 1, credentials=mine)
        )

    def answer(self, worker: WorkerProcess) -> Answer:
        """The next answer; a question where the file is gets its answer from the source."""
        while isinstance(answer := worker.answer(), AddressWanted):
            assert self.source.locate
            worker.send(AddressGiven(answer.id, answer.path, self.source.locate(self.file)))
            if not worker.has_answer:
                break
        return answer

    def journalled(self) -> Spans:
        """The bytes that the journal names; checks that each of them is right."""
        parts = self.root / ".provisioner" / "parts"
        if not parts.exists():
            return Spans()
        fd = os.open(parts, os.O_RDONLY)
        try:
            journal = partfile.read_journal(fd, self.file.part_key)
        finally:
            os.close(fd)
        spans = journal.spans if journal else Spans()
        check_equal(parts / partfile.part_name(self.file.part_key), self.content, spans.pairs)
        return spans

    def check_published(self) -> None:
        """Checks that nothing is published except the whole and right file."""
        assert files_below(self.root) <= {self.file.path}
        if files_below(self.root):
            assert digest_of(self.root / self.file.path) == digest_of(self.content)

    def live(self) -> bool:
        """Runs one fetcher and kills it after a random number of bytes. Returns whether it published first."""
        before, requests = self.journalled(), len(self.source.asked())
        sent, started = self.source.sent(), time.monotonic()
        target = sent + self.random.randrange(self.file.size // 3)
        with worker_process(self.hub) as worker:
            self.begin(worker, self.random.choice(CONNECTIONS))
            while self.source.sent() < target and not files_below(self.root):
                if worker.has_answer:
                    self.answer(worker)
                assert time.monotonic() - started < LONGEST_LIFE_SECONDS, "no bytes come"
                if worker.progress:
                    self.longest_resume = max(self.longest_resume, time.monotonic() - started)
                time.sleep(0.001)
            time.sleep(self.random.random() / 50)
            worker.process.kill()
            worker.process.wait()
        self.kills += 1
        self.check_published()
        self.check_nothing_again(before, requests)
        after = self.file.size if files_below(self.root) else self.journalled().total
        self.losses.append(self.sent_at_rest() - sent - (after - before.total))
        return bool(files_below(self.root))

    def sent_at_rest(self) -> int:
        """The bytes that the source has sent, once it has noticed that the connections are closed."""
        sent = -1
        while sent != (sent := self.source.sent()):
            time.sleep(0.1)
        return sent

    def check_nothing_again(self, journalled: Spans, requests: int) -> None:
        for first, last in self.source.asked()[requests:]:
            inside = [pair for pair in journalled.pairs if pair[0] <= last and first < pair[1]]
            assert not inside, f"{first}-{last} was asked for, and {inside} was safe"

    def finish(self, worker: WorkerProcess) -> None:
        """Completes the last file, without a kill."""
        before, sent = self.journalled(), self.sent_at_rest()
        self.begin(worker, 1)
        while isinstance(answer := self.answer(worker), AddressWanted):
            pass
        assert isinstance(answer, Published)
        self.check_published()
        assert self.source.sent() - sent == self.file.size - before.total

    def run(self, kills: int) -> None:
        """Kills `kills` fetchers and lets the last one finish; checks what that has cost."""
        while self.kills < kills:
            if self.live():
                self.published += 1
                (self.root / self.file.path).unlink()
        with worker_process(self.hub) as worker:
            self.finish(worker)
        files, sent = self.published + 1, self.source.sent()
        say(f"{kills} kills over {files} files of {SIZE // MIB} MiB: {sent / MIB:.0f} MiB sent")
        worst, mean = max(self.losses) / MIB, sum(self.losses) / kills / MIB
        say(f"lost per kill: {worst:.1f} MiB at most, {mean:.1f} on average")
        say(f"first progress after a start: {self.longest_resume:.1f} s at most")
        assert sent <= files * self.plan.total_bytes + kills * BOUND
        assert max(self.losses) <= BOUND
        assert self.longest_resume <= RESUME_SECONDS


def check_equal(path: Path, expected: Path, pairs: Iterable[tuple[int, int]]) -> None:
    for start, end in pairs:
        with path.open("rb") as one, expected.open("rb") as other:
            one.seek(start)
            other.seek(start)
            assert one.read(end - start) == other.read(end - start), f"[{start}, {end}) is wrong"


def digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_kill_9_at_random_points_publishes_nothing_wrong_and_costs_little(hub: Hub, tmp_path: Path) -> None:
    content = write_gguf(tmp_path / "large.gguf", size=SIZE)
    hub.repository(NAME).add(MODEL, content)
    root = tmp_path / "volume"
    root.mkdir()

    def asked() -> list[tuple[int, int]]:
        return [request.range for request in hub.log if request.origin == "content" and request.range]

    source = Source(asyncio.run(Bench(hub, root).resolve()), hub.bytes_sent, asked)
    Campaign(hub, source, root, content, randomness()).run(KILLS)


@pytest.mark.parametrize("name", SITES)
def test_kill_9_costs_little_with_every_source(hub: Hub, tmp_path: Path, name: str) -> None:
    """From a real server, without a digest if it tells none: then the version of the file pins what is kept."""
    content = write_gguf(tmp_path / "large.gguf", size=SIZE)
    (tmp_path / "site").mkdir()
    with SITES[name](tmp_path / "site", {"large": content.read_bytes()}) as site:
        front = Front(b"", behind=site.port, passes=True)
        with in_thread(front):
            url = f"http://127.0.0.1:{front.port}"
            ref, mine = site.ref("large", front.port), site.credentials(url)

            async def resolve() -> Plan:
                async with fetcher(tmp_path / "volume") as fetch:
                    return await fetch.resolve(ref, mine, endpoint=url if site.endpoint else None)

            async def locate(file: PlannedFile) -> Address:
                async with fetcher(tmp_path / "volume") as fetch:
                    return await fetch.locate(ref, file, mine)

            source = Source(
                asyncio.run(resolve()),
                lambda: front.sent,
                lambda: [(asked.start, asked.stop - 1) for asked in front.log],
                mine,
                lambda file: asyncio.run(locate(file)),
            )
            Campaign(hub, source, tmp_path / "volume", content, randomness()).run(KILLS_OF_EACH)
