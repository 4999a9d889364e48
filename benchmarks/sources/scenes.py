"""What is measured of each source: time against curl, bytes sent twice, memory. The limits are in `figures`.

Called by `__main__`. The model is the same for all, and is written to memory.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sources.front import Gate
from benchmarks.sources.origins import Origin
from benchmarks.sources.servers import Servers
from benchmarks.transfer import measure, worker
from benchmarks.transfer.measure import Cost
from benchmarks.transfer.model import FILE
from benchmarks.transfer.scenes import CONNECTIONS, MIB, Costs, in_turn
from benchmarks.transfer.scratch import empty, tell
from benchmarks.transfer.worker import Locate, Worker
from model_provisioner.domain.network.file_address import Address
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.worker_protocol import messages
from model_provisioner.worker_protocol.messages import Located, Resolve, ResolvedAnswer

EXPIRY_SECONDS = 5
_RATE = 16 * MIB  # of one connection: the model takes more than 15 seconds over eight of them
_SETTLED_SECONDS = 0.3
_OURS, _RIVAL = "fetch", "curl, then openssl dgst"


@dataclass(frozen=True, slots=True)
class Resumed:
    """After `kill -9` at half of the file: bytes that the server sent beyond its size, read or not, and the higher peak
    of the two workers' resident memory. All in bytes.
    """

    twice: int
    peak: int


@dataclass(frozen=True, slots=True)
class Expired:
    """A limited download during which what gives access expires every few seconds. `what` says what it is.

    `refused` counts the requests that came too late, `asked` how often another address was asked for. `twice` and
    `peak` are those of Resumed, of the one worker.
    """

    what: str
    seconds: float
    asked: int
    refused: int
    twice: int
    peak: int


def ours(source: str) -> str:
    """The name of our run from `source`, in Costs; of the other one, `rival`."""
    return f"{source}: {_OURS}"


def rival(source: str) -> str:
    return f"{source}: {_RIVAL}"


def fast(servers: Servers, origins: Sequence[Origin], rounds: int) -> Costs:
    """Each round has `fetch`, then curl and openssl, from each source."""
    runs: dict[str, Callable[[Path], Cost]] = {}
    for origin in origins:
        runs[ours(origin.name)] = _by_fetch(origin, servers.model.size)
        runs[rival(origin.name)] = _by_curl(origin)
    return in_turn("fast", runs, rounds, servers.scratch)


def killed(servers: Servers, origin: Origin) -> Resumed:
    assert origin.sent
    with _resolved(origin) as (plan, locate), empty(servers.scratch) as directory:
        before = _settled(origin.sent)
        with worker.started(origin.network, locate) as first:
            peak = first.fetch_until_killed(plan, directory, CONNECTIONS, servers.model.size // 2)
        with worker.started(origin.network, locate) as second:
            peak = max(peak, second.fetch(plan, directory, CONNECTIONS).peak)
        twice = _settled(origin.sent) - before - servers.model.size
    tell(f"killed  {origin.name}: {twice / MIB:.1f} MiB sent twice, {peak / MIB:.1f} MiB")
    return Resumed(twice, peak)


def expiring(servers: Servers) -> list[Expired]:
    tokens = "token of a registry"
    return [
        _expired("address that is signed for S3", servers, Gate(tokens=False, seconds=EXPIRY_SECONDS)),
        _expired(tokens, servers, Gate(tokens=True, seconds=EXPIRY_SECONDS, told=EXPIRY_SECONDS)),
        _expired(f"{tokens}, said to live 60 s", servers, Gate(tokens=True, seconds=EXPIRY_SECONDS, told=60)),
    ]


def _expired(what: str, servers: Servers, gate: Gate) -> Expired:
    with (
        servers.expiring(gate, _RATE) as fronted,
        _resolved(fronted.origin) as (plan, locate),
        empty(servers.scratch) as directory,
    ):
        asked = 0

        def counted(file: PlannedFile) -> Address:
            nonlocal asked
            asked += 1
            return locate(file)

        with worker.started(fronted.origin.network, counted) as it:
            cost = it.fetch(plan, directory, CONNECTIONS)
        twice = _settled(fronted.front.content_sent) - servers.model.size
        refused = fronted.front.refused
    tell(f"expiring  {what}: {twice} bytes sent twice in {cost.wall:.1f} s, asked {asked} times, {refused} refused")
    return Expired(what, cost.wall, asked, refused, twice, cost.peak)


def _by_fetch(origin: Origin, size: int) -> Callable[[Path], Cost]:
    def run(directory: Path) -> Cost:
        cost = measure.run(origin.fetch(directory), os.environ | origin.environment)
        if not any(path.stat().st_size == size for path in directory.rglob("*.gguf")):
            raise RuntimeError(f"{origin.ref} was fetched and left no whole file")
        return cost

    return run


def _by_curl(origin: Origin) -> Callable[[Path], Cost]:
    def run(directory: Path) -> Cost:
        read = ["openssl", "dgst", "-sha256", str(directory / FILE)]
        return measure.run(origin.curl(directory), os.environ) + measure.run(read, os.environ)

    return run


@contextlib.contextmanager
def _resolved(origin: Origin) -> Iterator[tuple[Plan, Locate]]:
    """The plan of the ref, and what tells the addresses of its file: a resolver, as the operator has one."""
    with worker.started(("--resolver", *origin.network)) as resolver:
        request = Resolve("1", origin.ref, origin.asked, digest=origin.digest, credentials=origin.credentials)
        answer = resolver.ask(request)
        if not isinstance(answer, ResolvedAnswer):
            raise RuntimeError(f"{origin.ref} is not resolved: {answer}")  # noqa: TRY004 - an answer is no argument
        yield answer.plan, _locating(resolver, origin)


def _locating(resolver: Worker, origin: Origin) -> Locate:
    def locate(file: PlannedFile) -> Address:
        request = messages.Locate("1", origin.ref, file.endpoint or origin.asked, file, origin.credentials)
        answer = resolver.ask(request)
        if not isinstance(answer, Located):
            raise RuntimeError(f"{origin.ref} is not located: {answer}")  # noqa: TRY004 - an answer is no argument
        return answer.address

    return locate


def _settled(sent: Callable[[], int]) -> int:
    """What `sent` counts when it grows no more: nginx writes a line when it has seen that a client is gone."""
    count = -1
    while (now := sent()) != count:
        count = now
        time.sleep(_SETTLED_SECONDS)
    return count
