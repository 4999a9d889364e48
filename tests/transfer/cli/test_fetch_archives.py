"""`model-provisioner fetch` of a model in an archive of a registry, killed on the way: what is durable is kept."""

import gzip
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model_provisioner.transfer.store.documents import decode_journal
from tests.support import nginx, registry, tars
from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually
from tests.support.registry import Pusher

MIB = 1024**2
SIZE = 40 * MIB
TAR = "application/vnd.kitops.modelkit.model.v1.tar"
WITHOUT_RANGES = 'proxy_set_header Range ""; max_ranges 0;'
SENT = re.compile(r'" 20[06] (\d+) ')

SHAPES: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "ranges": (TAR, bytes, ""),
    "no ranges": (TAR, bytes, WITHOUT_RANGES),
    "gzip": (f"{TAR}+gzip", lambda packed: gzip.compress(packed, 1), ""),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_killed_fetch_goes_on(tmp_path: Path, shape: str) -> None:
    media_type, pack, directives = SHAPES[shape]
    model = tiny_gguf(size=SIZE)
    packed = pack(tars.tar(("README.md", b"# Tiny"), ("tiny.gguf", model)))
    through = f"proxy_set_header Host $http_host; {directives}"
    with registry.running(tmp_path) as url:
        behind = int(url.rpartition(":")[2])
        with nginx.before(behind, tmp_path, through) as port:
            pusher = Pusher(url, "team/tiny")
            pusher.artifact("v1", [pusher.blob(packed, media_type)])
            ref = f"oci://127.0.0.1:{port}/team/tiny:v1"
            with fetching(tmp_path, ref, "--max-bytes-per-second", "12Mi") as first:
                eventually(lambda: durable(tmp_path) >= 8 * MIB, "8 MiB are durable")
                first.kill()
        kept = durable(tmp_path)
        log = tmp_path / "second.log"  # of an nginx of its own: the first one logs killed requests at any later time
        with nginx.before(behind, tmp_path, f"{through} access_log {log};", port), fetching(tmp_path, ref) as second:
            assert second.wait(60) == 0
    again = sum(sent(log))
    (found,) = (tmp_path / "models").rglob("*.gguf")
    assert found.read_bytes() == model
    if shape == "ranges":
        assert again <= len(model) - kept + 128 * 1024
    else:
        assert again >= len(packed), "the stream has no middle to begin at"


def fetching(tmp_path: Path, ref: str, *flags: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "model_provisioner.cli", "fetch", ref, "--to", str(tmp_path / "models"), *flags]
    return subprocess.Popen([*command, "--allow-host", "127.0.0.1"])


def durable(tmp_path: Path) -> int:
    """How many bytes the journal names."""
    journals = [decode_journal(file.read_bytes()) for file in (tmp_path / "models/.provisioner/parts").glob("*.json")]
    return sum(journal.spans.total for journal in journals if journal)


def sent(log: Path) -> list[int]:
    """The sizes of the bodies that were sent, of requests that have ended."""
    return [int(size) for size in SENT.findall(log.read_text())]
