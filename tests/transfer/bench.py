"""Resolver, engine and store in this process, with a real hub and a real volume, for the tests of `transfer`."""

import asyncio
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.download.waiting import Wait
from model_provisioner.domain.network.addresses import NetworkPolicy, parse_host_port
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.job import Job, Provided
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer
from tests.support.hub import Hub

NAME = "owner/Model-GGUF"
REF = f"hf:{NAME}"
MODEL = "model.Q4_K_M.gguf"
HOLDER = Holder("uid-1", "models", "model")


async def no_sleep(seconds: float) -> None:
    """The sleep of a test clock: at most 10 ms."""
    await asyncio.sleep(min(seconds, 0.01))


@dataclass
class Recorder:
    """The calls of the engine's reporter, in order."""

    progress_lines: list[tuple[int, int, int]] = field(default_factory=list)
    verifying_lines: list[tuple[int, int]] = field(default_factory=list)
    received: int = 0
    waits: list[Wait] = field(default_factory=list)
    verified_first: bool = False
    """True if `verifying` was called before any `progress`."""

    def progress(self, done: int, total: int, restarts: int, received: int, wait: Wait | None = None) -> None:
        self.progress_lines.append((done, total, restarts))
        self.received = received
        if wait and wait not in self.waits:
            self.waits.append(wait)

    def verifying(self, hashed: int, total: int, received: int) -> None:
        self.verifying_lines.append((hashed, total))
        self.received = received
        self.verified_first = self.verified_first or not self.progress_lines


def network(hub: Hub) -> NetworkSettings:
    """Settings that allow all ports of the hub's host."""
    return NetworkSettings(NetworkPolicy(allowed_hosts=(parse_host_port("127.0.0.1"),)), hub.ca_file)


def token_for(hub: Hub, token: str) -> Credentials:
    return Credentials(token, (hub.endpoint,))


@dataclass
class Bench:
    """One hub, and one volume at `root`."""

    hub: Hub
    root: Path
    clock: Clock = field(default_factory=lambda: Clock(sleep=no_sleep))

    async def resolve(
        self,
        ref: str = REF,
        credentials: Credentials | None = None,
        digest: str | None = None,
        revision: str | None = None,
        *,
        projector: bool = False,
    ) -> Plan:
        return (await self.answer(ref, credentials, digest, revision, projector=projector)).plan

    async def answer(
        self,
        ref: str = REF,
        credentials: Credentials | None = None,
        digest: str | None = None,
        revision: str | None = None,
        *,
        projector: bool = False,
    ) -> ResolvedAnswer:
        store = StoreRef(str(self.root), None)
        request = Resolve("1", ref, self.hub.endpoint, revision, digest, credentials, store=store, projector=projector)
        async with open_client(network(self.hub)) as client:
            return await Resolver(client).resolve(request)

    async def transfer(
        self,
        plan: Plan,
        *,
        credentials: Credentials | None = None,
        connections: int = 1,
        bytes_per_second: int | None = None,
        recorder: Recorder | None = None,
    ) -> Provided:
        with self.store() as store:
            settled = store.records.settle(HOLDER, plan)
            job = Job(settled, Limits(connections, bytes_per_second), 1, credentials, HOLDER.uid)
            async with open_client(network(self.hub)) as client:
                return await engine.provide(job, store.files, client, recorder or Recorder(), self.clock)

    async def fetch(self, ref: str = REF, recorder: Recorder | None = None, connections: int = 1) -> Provided:
        return await self.transfer(await self.resolve(ref), recorder=recorder, connections=connections)

    @contextmanager
    def store(self) -> Iterator[Store]:
        with Store.open(self.root, None) as opened:
            yield opened

    def content(self, provided: Provided, index: int = 0) -> bytes:
        return (self.root / provided.files[index].path).read_bytes()


def sha256(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"
