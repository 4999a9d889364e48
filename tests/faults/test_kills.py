"""`kill -9` of a fetcher at random points: journalled bytes are never fetched again."""

import asyncio
import hashlib
import os
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.store import partfile
from model_provisioner.worker_protocol.messages import Published
from tests.faults.campaign import LONG, randomness, say
from tests.support.ggufs import write_gguf
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.transfer.bench import MODEL, NAME, Bench
from tests.transfer.worker_process import WorkerProcess, fetch_request, worker_process

MIB = 1024**2
SIZE = 64 * MIB
KILLS = 200 if LONG else 15
BOUND = 64 * MIB  # bytes that one kill may cost
RESUME_SECONDS = 5
LONGEST_LIFE_SECONDS = 20
CONNECTIONS = (1, 4, 8)


@dataclass
class Campaign:
    """The results of all kills, over all files that were fetched meanwhile."""

    hub: Hub
    root: Path
    plan: Plan
    content: Path
    random: random.Random
    kills: int = 0
    published: int = 0
    longest_resume: float = 0
    losses: list[int] = field(default_factory=list)

    @property
    def file(self) -> PlannedFile:
        return self.plan.files[0]

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
        before, requests = self.journalled(), len(self.hub.log)
        sent, started = self.hub.bytes_sent(), time.monotonic()
        target = sent + self.random.randrange(self.file.size // 3)
        with worker_process(self.hub) as worker:
            worker.send(
                fetch_request(self.root, self.plan, connections=self.random.choice(CONNECTIONS), epoch=self.kills + 1)
            )
            while self.hub.bytes_sent() < target and not files_below(self.root):
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
        """The bytes that the hub has sent, once it has noticed that the connections are closed."""
        sent = -1
        while sent != (sent := self.hub.bytes_sent()):
            time.sleep(0.05)
        return sent

    def check_nothing_again(self, journalled: Spans, requests: int) -> None:
        served = [request.range for request in self.hub.log[requests:] if request.origin == "content" and request.range]
        for first, last in served:
            inside = [pair for pair in journalled.pairs if pair[0] <= last and first < pair[1]]
            assert not inside, f"{first}-{last} was asked for, and {inside} was safe"

    def finish(self, worker: WorkerProcess) -> None:
        """Completes the last file, without a kill."""
        before, sent = self.journalled(), self.sent_at_rest()
        assert isinstance(worker.ask(fetch_request(self.root, self.plan, epoch=self.kills + 1)), Published)
        self.check_published()
        assert self.hub.bytes_sent() - sent == self.file.size - before.total


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
    plan = asyncio.run(Bench(hub, root).resolve())
    campaign = Campaign(hub, root, plan, content, randomness())
    while campaign.kills < KILLS:
        if campaign.live():
            campaign.published += 1
            (root / campaign.file.path).unlink()
    with worker_process(hub) as worker:
        campaign.finish(worker)
    files = campaign.published + 1
    say(f"{KILLS} kills over {files} files of {SIZE // MIB} MiB: {hub.bytes_sent() / MIB:.0f} MiB sent")
    worst, mean = max(campaign.losses) / MIB, sum(campaign.losses) / KILLS / MIB
    say(f"lost per kill: {worst:.1f} MiB at most, {mean:.1f} on average")
    say(f"first progress after a start: {campaign.longest_resume:.1f} s at most")
    assert hub.bytes_sent() <= files * plan.total_bytes + KILLS * BOUND
    assert max(campaign.losses) <= BOUND
    assert campaign.longest_resume <= RESUME_SECONDS
