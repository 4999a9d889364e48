"""Planned files with their content, for tests of the store. They need no hub."""

import contextlib
import hashlib
import os
import random
from dataclasses import dataclass
from pathlib import Path

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import Holder
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.store.store import Store

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class SampleFile:
    """A file of a plan and its `content`."""

    planned: PlannedFile
    content: bytes

    @property
    def path(self) -> str:
        return self.planned.path

    @property
    def record(self) -> FileRecord:
        return FileRecord(self.path, self.planned.size, str(self.planned.digest))


def sample(path: str = "hf/acme/tiny/tiny.Q4_K_M.gguf", size: int = 300_000, seed: int = 0) -> SampleFile:
    """A file of `size` random bytes; the same `seed` gives the same bytes."""
    content = random.Random(seed).randbytes(size)
    digest = Digest(hashlib.sha256(content).hexdigest())
    url = None if path.startswith("local/") else f"https://hub.test/{path}"
    return SampleFile(PlannedFile(path, size, digest, f"hf:acme/tiny:{path.rpartition('/')[2]}", url), content)


def plan_of(*files: SampleFile, revision: str | None = COMMIT) -> Plan:
    return Plan("hf:acme/tiny", revision, tuple(file.planned for file in files))


def holder(name: str) -> Holder:
    return Holder(f"uid-{name}", "models", name)


def fetch(store: Store, file: SampleFile, path: str | None = None, epoch: int = 1, uid: str | None = None) -> None:
    """Writes and publishes the whole file, as a transfer that goes well does, on behalf of `uid`."""
    part = store.files.part(file.planned, epoch)
    part.write(0, file.content)
    part.commit(Spans().add(0, part.size))
    part.seal()
    store.files.publish(part, path or file.path, uid)


def put(root: Path, path: str, content: bytes) -> Path:
    """A file that was put on the volume by hand."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def files_below(root: Path) -> set[str]:
    """Every path below `root` except the private files of the store. Another process may write there meanwhile."""
    found = (Path(parent, name).relative_to(root) for parent, _, names in os.walk(root) for name in names)
    return {str(path) for path in found if path.parts[0] != ".provisioner"}


def private_files(root: Path, kind: str) -> set[str]:
    """The names in `.provisioner/<kind>`."""
    return {path.name for path in (root / ".provisioner" / kind).iterdir()}


def private_content(root: Path) -> bytes:
    """All bytes in the private files of the store, which a worker may replace meanwhile."""
    found = bytearray()
    for parent, _, names in os.walk(root / ".provisioner"):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found += Path(parent, name).read_bytes()
    return bytes(found)


def attest(store: Store, uid: str, file: SampleFile) -> None:
    """Records the digest of the published file, as a transfer does that has hashed it."""
    published = store.files.published(file.planned)
    if published is not None:
        store.files.record_digest(uid, file.record, published.version)
