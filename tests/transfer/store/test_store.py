"""The store: its id, publishing, and that no path and no symbolic link leads out of the volume."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import (
    InsufficientStorage,
    PathConflict,
    UnsupportedSource,
    VolumeChanged,
    VolumeNotWritable,
    VolumeUnsuitable,
)
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.modes import Modes, parse_mode
from model_provisioner.transfer.store.store import Store
from tests.support.models import attest, fetch, files_below, holder, plan_of, private_files, put, sample
from tests.support.volumes import needs_root, small_volume

FILE = sample()
OTHER_BYTES = sample(seed=1)


def test_a_store_is_made_once_and_known_again(root: Path) -> None:
    with Store.open(root, None) as first, Store.open(root, None) as again, Store.open(root, first.id) as expected:
        assert first.id == again.id == expected.id
    assert {path.name for path in (root / ".provisioner").iterdir()} == {"store.json", "parts", "holders"}


def test_stores_that_are_opened_at_once_agree_on_one_id(root: Path) -> None:
    found: list[str] = []
    together = threading.Barrier(8)

    def open_store() -> None:
        together.wait()
        with Store.open(root, None) as store:
            found.append(store.id)

    threads = [threading.Thread(target=open_store) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(found)) == 1


def write_identity(text: str) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        (root / ".provisioner" / "store.json").write_text(text)

    return change


def lose_identity(root: Path) -> None:
    (root / ".provisioner" / "store.json").unlink()


def lose_everything(root: Path) -> None:
    (root / ".provisioner").rename(root.parent / "elsewhere")


def lose_directory(root: Path) -> None:
    root.rename(root.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lose_directory, "holds no store"),
        (lose_everything, "holds no store"),
        (lose_identity, "holds no store"),
        (write_identity(""), "holds no store"),
        (write_identity('{"layout": 1, "id": "another"}'), "holds store another"),
    ],
    ids=["no directory", "not mounted", "identity lost", "identity damaged", "another volume"],
)
def test_a_strange_volume_is_left_alone(root: Path, change: Callable[[Path], None], message: str) -> None:
    with Store.open(root, None) as store:
        expected = store.id
    change(root)
    before = sorted(root.rglob("*"))
    with pytest.raises(VolumeChanged, match=f"{message}.*{expected}.*reconcileAt"):
        Store.open(root, expected)
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize("text", ["", "{}", '{"layout": 2, "id": "x"}'], ids=["empty", "no id", "later layout"])
def test_a_store_that_can_not_be_understood_is_not_taken_over(root: Path, text: str) -> None:
    Store.open(root, None).close()
    write_identity(text)(root)
    with pytest.raises(VolumeUnsuitable, match="damaged, or of a later version"):
        Store.open(root, None)


def test_a_directory_that_is_missing_or_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(VolumeNotWritable, match="does not exist: mount the volume"):
        Store.open(tmp_path / "missing", None)
    put(tmp_path, "file", b"")
    with pytest.raises(PathConflict, match="could not open the store"):
        Store.open(tmp_path / "file", None)


def test_a_volume_without_room_for_a_store_is_full(tmp_path: Path) -> None:
    with small_volume(tmp_path / "small", 4096) as root:
        put(root, "filler", bytes(4096))
        with pytest.raises(InsufficientStorage):
            Store.open(root, None)


def test_open_stores_leave_no_descriptors_behind(root: Path, tmp_path: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    Store.open(root, None).close()
    before = descriptors()
    with Store.open(root, None) as store:
        fetch(store, FILE)
        store.records.check((FILE.record,))
    for directory in (root, tmp_path / "missing"):
        with pytest.raises(VolumeChanged):
            Store.open(directory, "another")
    assert descriptors() == before


def test_publishing_makes_a_whole_readable_file_and_leaves_no_part(store: Store, root: Path) -> None:
    fetch(store, FILE)
    published = root / FILE.path
    assert published.read_bytes() == FILE.content
    assert published.stat().st_mode & 0o777 == 0o444
    assert {path.stat().st_mode & 0o777 for path in (root / "hf").rglob("*") if path.is_dir()} == {0o755}
    assert private_files(root, "parts") == set()
    fd = store.files.open_published(FILE.path)
    assert os.pread(fd, 10, 0) == FILE.content[:10]
    os.close(fd)


def test_directories_can_be_entered_whatever_the_umask(store: Store, root: Path) -> None:
    before = os.umask(0o077)
    try:
        fetch(store, FILE)
    finally:
        os.umask(before)
    assert (root / "hf/acme").stat().st_mode & 0o777 == 0o755


@needs_root
def test_modes_and_group_are_what_the_settings_say(root: Path) -> None:
    with Store.open(root, None, Modes(0o775, 0o664, 4711)) as store:
        fetch(store, FILE)
    for path, mode in (("hf", 0o775), ("hf/acme", 0o775), (FILE.path, 0o664)):
        found = (root / path).stat()
        assert (found.st_mode & 0o777, found.st_gid) == (mode, 4711), path


@pytest.mark.parametrize("text", ["", "755x", "0o755", "1777", "888", "rw-r--r--"])
def test_a_mode_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="three octal digits"):
        parse_mode(text)


def test_publishing_replaces_what_nobody_holds(store: Store, root: Path) -> None:
    put(root, FILE.path, b"old")
    fetch(store, FILE)
    assert (root / FILE.path).read_bytes() == FILE.content


def test_durable_bytes_are_those_in_parts_and_published_ones_that_were_read(store: Store, root: Path) -> None:
    one, two, three = (sample(f"hf/acme/tiny/x-0000{n}-of-00003.gguf", seed=n) for n in (1, 2, 3))
    plan = plan_of(one, two, three)
    assert store.files.durable_bytes(plan) == 0
    store.records.settle(holder("one"), plan_of(one))
    fetch(store, one)
    assert store.files.durable_bytes(plan) == 0, "no record attests these bytes yet"
    attest(store, "uid-one", one)
    part = store.files.part(two.planned, 7)
    part.write(0, two.content)
    part.commit(Spans().add(10, 1010))
    part.close()
    put(root, three.path, b"too short")
    assert store.files.durable_bytes(plan) == 300_000 + 1000


def test_the_check_names_what_is_missing_or_of_another_size(store: Store, root: Path) -> None:
    there, short, missing, linked = (sample(f"hf/acme/tiny/{n}.gguf") for n in ("there", "short", "missing", "linked"))
    fetch(store, there)
    put(root, short.path, b"short")
    (root / linked.path).symlink_to(root / there.path)
    records = tuple(file.record for file in (there, short, missing, linked))
    assert store.records.check(records).missing == (short.path, missing.path, linked.path)
    assert store.files.published(missing.planned) is None
    assert store.files.published(linked.planned) is None


def test_a_file_is_vouched_for_until_it_is_written_again(store: Store, root: Path) -> None:
    store.records.settle(holder("one"), plan_of(FILE))
    fetch(store, FILE)
    before = store.files.published(FILE.planned)
    attest(store, "uid-one", FILE)
    after = store.files.published(FILE.planned)
    (root / FILE.path).chmod(0o644)
    (root / FILE.path).write_bytes(OTHER_BYTES.content)
    rewritten = store.files.published(FILE.planned)

    assert before is not None
    assert before.digest is None
    assert after is not None
    assert (after.size, after.digest) == (300_000, FILE.planned.digest)
    assert rewritten is not None
    assert rewritten.digest is None


def test_digests_of_nobody_are_not_recorded(store: Store, root: Path) -> None:
    fetch(store, FILE)
    attest(store, "uid-nobody", FILE)
    assert private_files(root, "holders") == set()


def test_a_file_left_writable_by_a_crash_becomes_read_only(store: Store, root: Path) -> None:
    store.records.settle(holder("one"), plan_of(FILE))
    fetch(store, FILE)
    (root / FILE.path).chmod(0o600)
    attest(store, "uid-one", FILE)
    assert (root / FILE.path).stat().st_mode & 0o777 == 0o444


LINKS = ["hf", "hf/acme", "hf/acme/tiny", ".provisioner", ".provisioner/parts", ".provisioner/holders"]


@pytest.mark.parametrize("link", LINKS)
def test_nothing_is_done_behind_a_symbolic_link(root: Path, tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    put(outside, "tiny/tiny.Q4_K_M.gguf", FILE.content)
    put(outside, "acme/tiny/tiny.Q4_K_M.gguf", FILE.content)
    put(outside, "tiny.Q4_K_M.gguf", FILE.content)
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    (root / link).parent.mkdir(parents=True, exist_ok=True)
    (root / link).symlink_to(outside)

    with pytest.raises(PathConflict, match="symbolic link"):
        try_everything(root)
    assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before


def try_everything(root: Path) -> None:
    with Store.open(root, None) as store:
        assert store.files.published(FILE.planned) is None
        assert store.records.check((FILE.record,)).missing == (FILE.path,)
        store.records.settle(holder("one"), plan_of(FILE))
        assert store.records.remove("uid-one", delete=True) == ()
        fetch(store, FILE)


def test_a_link_at_the_final_path_is_neither_replaced_nor_followed(store: Store, root: Path, tmp_path: Path) -> None:
    victim = put(tmp_path, "victim.gguf", b"victim")
    (root / FILE.path).parent.mkdir(parents=True)
    (root / FILE.path).symlink_to(victim)
    with pytest.raises(PathConflict, match="symbolic link"):
        store.files.open_published(FILE.path)
    with pytest.raises(PathConflict, match=f"{FILE.path} is a symbolic link"):
        fetch(store, FILE)
    assert victim.read_bytes() == b"victim"
    assert (root / FILE.path).is_symlink()


@pytest.mark.parametrize("kind", ["directory", "link"])
def test_what_comes_to_the_final_path_during_a_fetch_is_named_and_the_part_is_kept(
    store: Store, root: Path, tmp_path: Path, kind: str
) -> None:
    part = store.files.part(FILE.planned, 1)
    part.write(0, FILE.content)
    part.commit(Spans().add(0, part.size))
    (root / FILE.path).parent.mkdir(parents=True)
    if kind == "directory":
        (root / FILE.path).mkdir()
    else:
        (root / FILE.path).symlink_to(tmp_path)
    part.seal()
    with pytest.raises(PathConflict, match=f"{FILE.path} is a .*{kind}, and the model needs a file there"):
        store.files.publish(part, FILE.path)
    assert store.files.durable_bytes(plan_of(FILE)) == 300_000
    part.close()


def test_what_is_no_file_is_not_opened(store: Store, root: Path) -> None:
    (root / FILE.path).parent.mkdir(parents=True)
    os.mkfifo(root / FILE.path)
    with pytest.raises(FileNotFoundError):
        store.files.open_published(FILE.path)
    assert store.files.published(FILE.planned) is None


@pytest.mark.parametrize("path", ["../x.gguf", "/etc/x.gguf", "hf/a/../../x.gguf", ".provisioner/parts/x.gguf"])
def test_hostile_paths_reach_no_file(store: Store, root: Path, path: str) -> None:
    file = sample(path)
    part = store.files.part(FILE.planned, 1)
    part.seal()
    steps: list[Callable[[], object]] = [
        lambda: store.records.settle(holder("one"), plan_of(file)),
        lambda: store.files.published(file.planned),
        lambda: store.files.open_published(path),
        lambda: store.files.publish(part, path),
        lambda: store.records.check((FileRecord(path, 1),)),
        lambda: store.files.durable_bytes(plan_of(file)),
    ]
    for step in steps:
        with pytest.raises(UnsupportedSource, match="can't be stored"):
            step()
    assert files_below(root) == set()
    assert private_files(root, "holders") == set()
    part.close()


def test_the_settings_of_the_store_are_readable_by_people(root: Path) -> None:
    with Store.open(root, None) as store:
        assert json.loads((root / ".provisioner/store.json").read_text()) == {"layout": 1, "id": store.id}
