"""The order of system calls that durability rests on, seen from outside, and a crash before each of them."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_provisioner.transfer import partfile
from model_provisioner.transfer.store import Store
from tests.support.models import files_below, holder, plan_of, private_files, sample
from tests.transfer.store_writer import bring

pytestmark = pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")

ROOT = Path(__file__).parents[2]
FILE = sample()
PART, JOURNAL = f"{FILE.planned.part_key}.part", f"{FILE.planned.part_key}.json"
# Each of them changes the volume or makes a change durable.
STEPS = ["mkdirat", "openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "renameat", "linkat", "unlinkat", "fchmod"]
LINE = re.compile(r"\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


@dataclass(frozen=True)
class Call:
    """One successful system call; descriptors in `arguments` carry their paths."""

    name: str
    arguments: str


def run_writer(directory: Path, *options: str) -> int:
    """The exit code of the writer under strace; -9 where it was killed."""
    command = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-y",
        "-s",
        "0",
        *options,
        sys.executable,
        "-m",
        "tests.transfer.store_writer",
    ]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([*command, str(directory)], cwd=ROOT, env=environment, timeout=60, check=False)
    return done.returncode


def trace(directory: Path, log: Path) -> list[Call]:
    assert run_writer(directory, "-o", str(log), "-e", f"trace={','.join(STEPS)}") == 0
    matches = (LINE.match(line) for line in log.read_text().splitlines())
    calls = [Call(m["name"], m["arguments"]) for m in matches if m and int(m["result"]) >= 0]
    return [call for call in calls if str(directory) in call.arguments]


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "volume").mkdir()
    return tmp_path / "volume"


@pytest.fixture
def calls(volume: Path, tmp_path: Path) -> list[Call]:
    return trace(volume, tmp_path / "strace.log")


def positions(calls: list[Call], name: str, pattern: str) -> list[int]:
    found = [n for n, call in enumerate(calls) if call.name == name and re.search(pattern, call.arguments)]
    assert found, f"no {name} of {pattern}"
    return found


def test_the_journal_tells_of_bytes_only_after_they_are_on_disk(calls: list[Call]) -> None:
    writes = positions(calls, "pwrite64", f"{PART}>")
    syncs = positions(calls, "fdatasync", f"{PART}>")
    begun, *journals = positions(calls, "renameat", f'"{JOURNAL}"')
    documents = positions(calls, "fsync", f"{JOURNAL}.new>")

    assert begun < writes[0]
    assert len(writes) == len(syncs) == len(journals) == 2
    for write, sync, document, journal in zip(writes, syncs, documents[1:], journals, strict=True):
        assert write < sync < document < journal


def test_a_file_appears_only_whole_and_its_name_is_made_durable(calls: list[Call]) -> None:
    (content,) = positions(calls, "fsync", f"{PART}>")
    (publish,) = positions(calls, "renameat", f'"{PART}"')
    name = positions(calls, "fsync", r"volume/hf/acme/tiny>")[-1]
    mode = positions(calls, "fchmod", "0444")[0]
    journal_gone = positions(calls, "unlinkat", f'"{JOURNAL}"')[-1]
    recorded = positions(calls, "renameat", '"uid-writer.json"')[-1]

    assert positions(calls, "pwrite64", f"{PART}>")[-1] < content < publish < name < mode < journal_gone < recorded


def test_every_new_directory_is_made_durable_in_its_parent(calls: list[Call]) -> None:
    for parent, child in [("volume", "hf"), ("hf", "acme"), ("acme", "tiny"), (".provisioner", "parts")]:
        (made,) = positions(calls, "mkdirat", f'{parent}>, "{child}"')
        assert any(sync > made for sync in positions(calls, "fsync", f"/{re.escape(parent)}>"))


def test_the_holder_is_recorded_before_the_first_byte(calls: list[Call]) -> None:
    (first, *_) = positions(calls, "renameat", '"uid-writer.json"')
    durable = next(n for n in positions(calls, "fsync", "holders>") if n > first)
    assert first < durable < positions(calls, "openat", f'"{PART}"')[0]


def crashes(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A volume for each step before which the writer was killed, until it outlived them all."""
    for step in [step for step in STEPS if step != "openat"]:
        for number in range(1, 100):
            volume = tmp_path / f"{step}-{number}"
            volume.mkdir()
            inject = f"inject={step}:signal=KILL:when={number}"
            code = run_writer(volume, "-o", "/dev/null", "-e", f"trace={step}", "-e", inject)
            if code == 0:
                break
            assert code in {-signal.SIGKILL, 128 + signal.SIGKILL}
            yield f"{step} {number}", volume


def test_a_crash_before_any_step_leaves_nothing_wrong_and_is_recovered_from(tmp_path: Path) -> None:
    survived = []
    for step, volume in crashes(tmp_path):
        assert files_below(volume) <= {FILE.path}, step
        with Store.open(volume, None) as store:
            whole = store.published(FILE.planned)
            if whole is not None:
                assert (volume / FILE.path).read_bytes() == FILE.content, step
            else:
                check_journal(volume, step)
            recover(store, volume, step)
        survived.append(step)
    assert len(survived) > 40


def check_journal(volume: Path, step: str) -> None:
    """Every byte that the journal tells of is in the part."""
    fd = os.open(volume / ".provisioner" / "parts", os.O_RDONLY)
    journal = partfile.read_journal(fd, FILE.planned.part_key)
    os.close(fd)
    for start, end in journal.spans.pairs if journal else ():
        part = (volume / ".provisioner" / "parts" / PART).read_bytes()
        assert part[start:end] == FILE.content[start:end], step


def recover(store: Store, volume: Path, step: str) -> None:
    """The next process ends what this one began, and a removal leaves nothing behind."""
    before = store.durable_bytes(plan_of(FILE))
    bring_again(store)
    assert (volume / FILE.path).read_bytes() == FILE.content, step
    assert before in {0, FILE.planned.size // 2, FILE.planned.size}, step
    assert store.remove("uid-writer", delete=True) == (FILE.path,), step
    assert (private_files(volume, "parts"), private_files(volume, "holders")) == (set(), set()), step


def bring_again(store: Store) -> None:
    store.settle(holder("writer"), plan_of(FILE))
    if store.published(FILE.planned) is None:
        bring(store, FILE)
    store.record_digests("uid-writer", (FILE.record,))
