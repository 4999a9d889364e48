"""The order of the system calls that make a file durable, as strace shows it, and a crash before each of them."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_provisioner.transfer.store import partfile
from model_provisioner.transfer.store.store import Store
from tests.support import tools
from tests.support.models import attest, files_below, holder, plan_of, private_files, sample
from tests.transfer.store_writer import bring

pytestmark = tools.needs("strace")

ROOT = Path(__file__).parents[3]
FILE = sample()
PART, JOURNAL = f"{FILE.planned.part_key}.part", f"{FILE.planned.part_key}.json"
# Each call changes the volume or makes a change durable.
STEPS = ["mkdirat", "openat", "pwrite64", "fdatasync", "fsync", "ftruncate", "renameat", "linkat", "unlinkat", "fchmod"]
LINE = re.compile(r"\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")


@dataclass(frozen=True)
class Call:
    """One successful system call. In `arguments`, descriptors have their paths (strace -y)."""

    name: str
    arguments: str


def run_writer(directory: Path, *options: str, deed: str = "fetch") -> subprocess.CompletedProcess[str]:
    """Runs the writer under strace with `options`, and returns its exit code and output."""
    command = ["strace", "-f", "-y", "-s", "0", *options, sys.executable, "-m", "tests.transfer.store_writer"]
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [*command, str(directory), deed],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def trace(directory: Path, log: Path, deed: str = "fetch") -> list[Call]:
    assert run_writer(directory, "-o", str(log), "-e", f"trace={','.join(STEPS)}", deed=deed).returncode == 0
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

    known = next(sync for sync in positions(calls, "fsync", "parts>") if sync > begun)
    assert begun < known < positions(calls, "ftruncate", f"{PART}>")[0] < writes[0]
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


def crashes(step: str, tmp_path: Path) -> Iterator[Path]:
    """For each call of the system call `step`, a volume whose writer was killed just before that call."""
    for number in range(1, 100):
        volume = tmp_path / f"{step}-{number}"
        volume.mkdir()
        inject = f"inject={step}:signal=KILL:when={number}"
        code = run_writer(volume, "-o", "/dev/null", "-e", f"trace={step}", "-e", inject).returncode
        if code == 0:
            return
        assert code in {-signal.SIGKILL, 128 + signal.SIGKILL}
        yield volume


def test_the_record_of_a_holder_goes_after_its_files_are_durably_gone(
    calls: list[Call], volume: Path, tmp_path: Path
) -> None:
    removal = trace(volume, tmp_path / "removal.log", "remove")
    (gone,) = positions(removal, "unlinkat", r'"tiny\.Q4_K_M\.gguf"')
    durable = positions(removal, "fsync", "volume/hf/acme/tiny>")[0]
    assert gone < durable < positions(removal, "unlinkat", '"uid-writer.json"')[-1]


def test_publishing_outlives_a_removal_that_takes_its_empty_directory_away(calls: list[Call], tmp_path: Path) -> None:
    renames = [call for call in calls if call.name == "renameat"]
    number = 1 + next(n for n, call in enumerate(renames) if f'"{PART}"' in call.arguments)
    volume = tmp_path / "again"
    volume.mkdir()
    inject = f"inject=renameat:error=ENOENT:when={number}"
    done = run_writer(volume, "-o", "/dev/null", "-e", "trace=renameat", "-e", inject)
    assert done.returncode == 0, done.stderr
    assert (volume / FILE.path).read_bytes() == FILE.content


# A crash around fchmod is tested in test_store: modes are best effort.
@pytest.mark.parametrize("step", sorted(set(STEPS) - {"openat", "fchmod"}))
def test_a_crash_before_any_step_leaves_nothing_wrong_and_is_recovered_from(tmp_path: Path, step: str) -> None:
    survived = 0
    for volume in crashes(step, tmp_path):
        assert files_below(volume) <= {FILE.path}
        with Store.open(volume, None) as store:
            if store.files.published(FILE.planned) is None:
                check_journal(volume)
            else:
                assert (volume / FILE.path).read_bytes() == FILE.content
            recover(store, volume)
        survived += 1
    assert survived >= 1


def check_journal(volume: Path) -> None:
    """Every byte that the journal names is in the part."""
    fd = os.open(volume / ".provisioner" / "parts", os.O_RDONLY)
    journal = partfile.read_journal(fd, FILE.planned.part_key)
    os.close(fd)
    for start, end in journal.spans.pairs if journal else ():
        part = (volume / ".provisioner" / "parts" / PART).read_bytes()
        assert part[start:end] == FILE.content[start:end]


def recover(store: Store, volume: Path) -> None:
    """The next process completes the fetch, and a removal leaves nothing behind."""
    before = store.files.durable_bytes(plan_of(FILE))
    bring_again(store)
    assert (volume / FILE.path).read_bytes() == FILE.content
    assert before in {0, FILE.planned.size // 2, FILE.planned.size}
    assert store.records.remove("uid-writer", delete=True) == (FILE.path,)
    assert (private_files(volume, "parts"), private_files(volume, "holders")) == (set(), set())


def bring_again(store: Store) -> None:
    store.records.settle(holder("writer"), plan_of(FILE))
    if store.files.published(FILE.planned) is None:
        bring(store, FILE)
    attest(store, "uid-writer", FILE)


FAILURES = {
    "quota": ("pwrite64:error=EDQUOT", "InsufficientStorage: .*enlarge its claim"),
    "no writes at offsets": ("pwrite64:error=EOPNOTSUPP", "VolumeUnsuitable: .*another storage class"),
    "bad block": ("fdatasync:error=EIO", "VolumeNotWritable: could not sync hf/acme/.*is healthy"),
    "not ours": (
        "mkdirat:error=EACCES",
        rf"VolumeNotWritable: .*: Permission denied: .* {os.geteuid()}:{os.getegid()}, .*fsGroup.*chown -R",
    ),
    "not permitted": ("ftruncate:error=EPERM", f"VolumeNotWritable: .* {os.geteuid()}:{os.getegid()}, .*fsGroup"),
    "stale handle": ("ftruncate:error=ESTALE", "VolumeNotWritable: could not open the part"),
    "file too large": ("ftruncate:error=EFBIG", "VolumeUnsuitable: could not open the part"),
    "no syncs": ("fsync:error=EINVAL", "VolumeUnsuitable: could not open the store"),
    "no renames": ("renameat:error=ENOSYS", "VolumeUnsuitable: "),
    "no modes": ("fchmod:error=EPERM", None),
    "no hard links": ("linkat:error=EPERM", None),
}


@pytest.mark.parametrize(("failure", "message"), FAILURES.values(), ids=FAILURES.keys())
def test_what_a_file_system_refuses_is_named_or_done_without(volume: Path, failure: str, message: str | None) -> None:
    call = failure.partition(":")[0]
    done = run_writer(volume, "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={failure}")
    if message is None:
        assert done.returncode == 0, done.stderr
        assert (volume / FILE.path).read_bytes() == FILE.content
    else:
        assert re.search(message, done.stderr.splitlines()[-1]), done.stderr
        assert files_below(volume) == set()


def test_directories_that_can_not_be_synced_are_done_without(volume: Path) -> None:
    directory = volume / "hf" / "acme" / "tiny"
    done = run_writer(
        volume, "-o", "/dev/stderr", "-P", str(directory), "-e", "trace=fsync", "-e", "inject=fsync:error=EINVAL"
    )
    assert "EINVAL" in done.stderr
    assert done.returncode == 0, done.stderr
    assert (volume / FILE.path).read_bytes() == FILE.content
