"""One model, one time, and the snapshot after given events, for tests of every layer."""

from datetime import UTC, datetime

from model_provisioner.domain.lifecycle.events import Event
from model_provisioner.domain.lifecycle.snapshot import Snapshot, advance
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import DigestSource, Model

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FILE = FileRecord("hf/a/b/x.gguf", 1000, "sha256:" + "0" * 64)
MODEL = Model(
    "models", "id", FILE.path, "1000 B", 1000, DigestSource.SOURCE, (FILE,), revision="c" * 40, digest=FILE.digest
)


def after(*events: Event, start: Snapshot | None = None) -> Snapshot:
    snapshot = start or Snapshot()
    for event in events:
        snapshot = advance(snapshot, event, NOW)
    return snapshot
