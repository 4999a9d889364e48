"""A volume that other users may write to: they can neither exchange what was hashed nor attest, block or lead astray.

The operator and a user of the volume's group have real uids: processes of their own, or this one with their rights.
"""

import json
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import VolumeUnsuitable
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.modes import Modes
from model_provisioner.transfer.store.partfile import PartFile, WriterSuperseded
from model_provisioner.transfer.store.store import Store
from tests.support.faulty_volume import faulty_volume
from tests.support.models import attest, fetch, files_below, holder, plan_of, private_files, put, sample
from tests.support.volumes import acting_as, run_as, shared_volume

OPERATOR, USER, GROUP = 10001, 4711, 4712
FILE = sample()
EVIL = sample(seed=1)
KEY = FILE.planned.part_key
SHARED = Modes(0o775, 0o444, GROUP)
CLAIM = Claim("models", "models")
EXCHANGE = 'cp "$2" "$1.evil"; mv -f "$1.evil" "$1"'


@pytest.fixture
def root() -> Iterator[Path]:
    with shared_volume(OPERATOR, GROUP) as directory:
        yield directory


def as_operator() -> AbstractContextManager[None]:
    return acting_as(OPERATOR, GROUP)


def as_user(script: str, *arguments: str | Path) -> bool:
    return run_as(USER, GROUP, script, *arguments)


def downloaded(store: Store) -> PartFile:
    """A part with all of its bytes, as it is when they are hashed."""
    part = store.files.part(FILE.planned, 1)
    part.write(0, FILE.content)
    part.mark_complete()
    part.commit(Spans().add(0, part.size))
    return part


def private_paths(root: Path) -> dict[str, tuple[int, int]]:
    """Owner and mode of the store's own directories and parts."""
    found = [root / ".provisioner", *(root / ".provisioner").rglob("*")]
    kept = {path: path.stat() for path in found if path.is_dir() or path.suffix == ".part"}
    return {str(path.relative_to(root)): (facts.st_uid, facts.st_mode & 0o777) for path, facts in kept.items()}


PRIVATE = {
    ".provisioner": (OPERATOR, 0o700),
    ".provisioner/parts": (OPERATOR, 0o700),
    ".provisioner/holders": (OPERATOR, 0o700),
    f".provisioner/parts/{KEY}.part": (OPERATOR, 0o600),
}


def test_a_user_of_the_group_can_not_exchange_a_part(root: Path) -> None:
    evil = put(root, "evil.gguf", EVIL.content)
    with as_operator():
        store = Store.open(root, None, SHARED)
        part = downloaded(store)
        part.seal()
    exchanged = as_user(EXCHANGE, root / f".provisioner/parts/{KEY}.part", evil)
    with as_operator(), store:
        store.files.publish(part, FILE.path)
    assert (root / FILE.path).read_bytes() == FILE.content
    assert not exchanged
    assert private_paths(root).items() <= PRIVATE.items()


@pytest.mark.parametrize("expected_id", [None, "some-id"])
def test_a_private_directory_that_another_user_made_beforehand_is_named(root: Path, expected_id: str | None) -> None:
    assert as_user('mkdir -m 777 "$1"', root / ".provisioner")
    with (
        as_operator(),
        pytest.raises(
            VolumeUnsuitable,
            match=rf"^\.provisioner belongs to user {USER}, and this process runs as user {OPERATOR}.*"
            rf"chown -R {OPERATOR} .*podSecurity.runAsUser to {USER}.*delete it",
        ),
    ):
        Store.open(root, expected_id, SHARED)
    assert list((root / ".provisioner").iterdir()) == []


@pytest.mark.parametrize("name", ["parts", "holders"])
def test_a_directory_of_another_user_in_the_private_one_is_named(root: Path, name: str) -> None:
    with as_operator():
        Store.open(root, None, SHARED).close()
    made = root / ".provisioner" / name
    made.rmdir()
    (root / ".provisioner").chmod(0o777)
    assert as_user('mkdir -m 777 "$1"', made)
    with as_operator(), pytest.raises(VolumeUnsuitable, match=rf"^\.provisioner/{name} belongs to user {USER},"):
        Store.open(root, None, SHARED)
    assert list(made.iterdir()) == []


def test_a_store_of_a_release_that_ran_as_another_user_is_named_until_it_is_handed_over(root: Path) -> None:
    with as_operator(), Store.open(root, None, SHARED) as store:
        store_id = store.id
    os.chown(root / ".provisioner", USER, GROUP)
    with (
        acting_as(USER, GROUP),
        pytest.raises(VolumeUnsuitable, match=rf"belongs to user {OPERATOR}.* runs as user {USER}"),
    ):
        Store.open(root, store_id)
    for path in (root / ".provisioner").rglob("*"):
        os.chown(path, USER, GROUP)
    with acting_as(USER, GROUP), Store.open(root, store_id) as again:
        assert again.id == store_id


@pytest.mark.parametrize(("directory", "file"), [(0o775, 0o600), (0o2770, 0o660), (0o755, 0o644)])
def test_modes_of_an_earlier_release_and_of_kubernetes_are_corrected(root: Path, directory: int, file: int) -> None:
    """Kubernetes gives every file to `fsGroup` when a pod mounts the volume, with the right to write."""
    with as_operator(), Store.open(root, None, SHARED) as store:
        downloaded(store).close()
    for path in (root / ".provisioner", *(root / ".provisioner").rglob("*")):
        os.chown(path, -1, GROUP)
        path.chmod(directory if path.is_dir() else file)
    with as_operator(), Store.open(root, None, SHARED) as store:
        part = store.files.part(FILE.planned, 1)
        assert part.spans.total == FILE.planned.size, "it is continued, and hashed from the file"
        part.close()
    assert private_paths(root) == PRIVATE


def open_to_group(root: Path) -> None:
    for path in (".provisioner", ".provisioner/parts"):
        os.chown(root / path, -1, GROUP)
        (root / path).chmod(0o2770)


def test_modes_that_kubernetes_changes_during_a_fetch_are_corrected_before_publishing(root: Path) -> None:
    with as_operator():
        store = Store.open(root, None, SHARED)
        part = downloaded(store)
    open_to_group(root)
    (root / f".provisioner/parts/{KEY}.part").chmod(0o660)
    with as_operator(), store:
        assert not part.seal(), "the file is to be hashed again"
        store.files.publish(part, FILE.path)
    assert {mode for _, mode in private_paths(root).values()} == {0o700}
    assert (root / FILE.path).read_bytes() == FILE.content


def exchange_the_part(root: Path) -> None:
    """What a user of the group does while Kubernetes has opened the directories."""
    open_to_group(root)
    assert as_user(EXCHANGE, root / f".provisioner/parts/{KEY}.part", root / "evil.gguf")


def write_to_the_part(root: Path) -> None:
    with (root / f".provisioner/parts/{KEY}.part").open("r+b") as file:
        file.write(EVIL.content)


def cut_the_part(root: Path) -> None:
    os.truncate(root / f".provisioner/parts/{KEY}.part", 10)


@pytest.mark.parametrize("attack", [exchange_the_part, write_to_the_part, cut_the_part])
def test_what_changes_after_the_digest_is_not_published(root: Path, attack: Callable[[Path], None]) -> None:
    put(root, "evil.gguf", EVIL.content)
    with as_operator():
        store = Store.open(root, None, SHARED)
        part = downloaded(store)
        part.seal()
    attack(root)
    refused = pytest.raises(VolumeUnsuitable, match=f"has exchanged or changed {FILE.path} after it was verified")
    with as_operator(), store, refused:
        store.files.publish(part, FILE.path)
    assert files_below(root) == {"evil.gguf"}
    assert private_files(root, "parts") == set()
    with as_operator(), Store.open(root, None, SHARED) as store:
        fetch(store, FILE)
    assert (root / FILE.path).read_bytes() == FILE.content


def test_a_part_that_is_exchanged_just_before_the_rename_is_removed_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last moment that there is: the names are compared, and the rename is the next call."""
    part_path, rename = root / f".provisioner/parts/{KEY}.part", os.rename

    def exchanged_rename(source: str, target: str, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        if source == part_path.name:
            part_path.unlink()
            part_path.write_bytes(EVIL.content)
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    with as_operator(), Store.open(root, None, SHARED) as store:
        part = downloaded(store)
        part.seal()
        monkeypatch.setattr(os, "rename", exchanged_rename)
        with pytest.raises(VolumeUnsuitable, match="so it is not published"):
            store.files.publish(part, FILE.path)
        monkeypatch.undo()
    assert files_below(root) == set()
    assert private_files(root, "parts") == set()


def test_a_write_after_the_last_byte_shows_when_the_part_is_sealed(root: Path) -> None:
    with as_operator(), Store.open(root, None, SHARED) as store:
        part = downloaded(store)
        write_to_the_part(root)
        assert not part.seal()
        part.close()


def test_what_comes_to_the_path_after_publishing_is_not_attested(root: Path) -> None:
    evil = put(root, "evil.gguf", EVIL.content)
    with as_operator():
        store = Store.open(root, None, SHARED)
        store.records.settle(holder("a"), plan_of(FILE))
        part = downloaded(store)
        part.seal()
        published = store.files.publish(part, FILE.path, "uid-a")
    assert as_user(EXCHANGE, root / FILE.path, evil), "the mode of directories lets the group do this"
    with as_operator(), store:
        assert not store.files.record_digest("uid-a", FILE.record, published)
        found = store.files.published(FILE.planned)
        assert found is not None
        assert found.digest is None
        assert store.records.check((FILE.record,), "uid-a").unattested == (FILE.path,)


def forged(path: Path) -> bytes:
    """A record that attests the digest of FILE for the file at `path`."""
    facts = path.stat()
    held = {"path": FILE.path, "size": facts.st_size, "digest": str(FILE.planned.digest), "adopted": False}
    files = [{**held, "mtime_ns": facts.st_mtime_ns, "replaced_ns": None}]
    names = {"uid": "uid-evil", "namespace": "models", "name": "evil", "revision": None}
    return json.dumps({"version": 1, **names, "files": files, "part_keys": [], "released": False}).encode()


@pytest.mark.parametrize(("owner", "attested"), [(OPERATOR, True), (USER, False)])
def test_only_records_of_this_user_attest(root: Path, owner: int, *, attested: bool) -> None:
    with as_operator():
        store = Store.open(root, None, SHARED)
    file = put(root, FILE.path, EVIL.content)
    record = put(root, ".provisioner/holders/uid-evil.json", forged(file))
    os.chown(record, owner, GROUP)
    record.chmod(0o644)
    with as_operator(), store:
        found = store.files.published(FILE.planned)
        assert found is not None
        assert (found.digest is not None) == attested
        assert store.records.unheld().unreadable_records == (() if attested else ("uid-evil.json",))


def test_a_record_that_another_user_owns_is_written_anew(root: Path) -> None:
    with as_operator(), Store.open(root, None) as store:
        store.records.settle(holder("a"), plan_of(FILE))
        fetch(store, FILE)
        attest(store, "uid-a", FILE)
    os.chown(root / ".provisioner/holders/uid-a.json", USER, GROUP)
    with as_operator(), Store.open(root, None) as store:
        assert store.records.check((FILE.record,), "uid-a").unattested == (FILE.path,)
        store.records.settle(holder("a"), plan_of(FILE))
        attest(store, "uid-a", FILE)
        assert store.records.check((FILE.record,), "uid-a").unattested == ()


@pytest.mark.parametrize("kind", ["part", "json"])
def test_a_part_and_a_journal_of_another_user_are_not_continued(root: Path, kind: str) -> None:
    with as_operator():
        store = Store.open(root, None, SHARED)
        downloaded(store).close()
    changed = root / f".provisioner/parts/{KEY}.{kind}"
    os.chown(changed, USER, GROUP)
    changed.chmod(0o666)
    with as_operator(), store:
        part = store.files.part(FILE.planned, 1)
        assert (part.spans, part.read(0, 10)) == (Spans(), bytes(10))
        part.close()
    assert private_paths(root) == PRIVATE


def journal(**changes: object) -> bytes:
    known = {"source": FILE.planned.source, "size": FILE.planned.size, "digest": str(FILE.planned.digest)}
    return json.dumps({"version": 1, **known, "epoch": 1, "restarts": 0, "spans": [[0, 10]], **changes}).encode()


ABSURD = {
    "90,000 spans": journal(spans=[[3 * n, 3 * n + 1] for n in range(90_000)]),
    "more spans than a transfer can have": journal(spans=[[3 * n, 3 * n + 1] for n in range(5_000)]),
    "a late epoch": journal(epoch=10**9),
    "an epoch without end": b'{"version":1,"epoch":' + b"9" * 400 + b"}",
    "a negative epoch": journal(epoch=-1),
    "restarts without end": journal(restarts=10**30),
    "deep nesting": b'{"spans":' + b"[" * 200_000,
    "a large text": journal(source="x" * 3 * 2**20),
    "no UTF-8": b'{"source":"\xff"}',
}


@pytest.mark.parametrize("data", ABSURD.values(), ids=ABSURD.keys())
def test_an_absurd_journal_starts_the_file_again(root: Path, data: bytes) -> None:
    with as_operator(), Store.open(root, None, SHARED) as store:
        downloaded(store).close()
        (root / f".provisioner/parts/{KEY}.json").write_bytes(data)
        part = store.files.part(FILE.planned, 1)
        assert part.spans == Spans()
        assert part.restarts <= 1
        part.check_writer()
        part.close()


@pytest.mark.parametrize(("epoch", "stops"), [(2, True), (10**9, False)])
def test_only_an_epoch_that_an_operator_can_have_stops_a_writer(root: Path, epoch: int, *, stops: bool) -> None:
    with as_operator(), Store.open(root, None, SHARED) as store:
        part = downloaded(store)
        (root / f".provisioner/parts/{KEY}.json").write_bytes(journal(epoch=epoch))
        if stops:
            with pytest.raises(WriterSuperseded):
                part.commit(part.spans)
        else:
            part.commit(part.spans)
            part.check_writer()
        part.close()


def test_nothing_is_read_of_a_document_that_is_too_large(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, amounts = os.read, list[int]()

    def counting_read(fd: int, length: int) -> bytes:
        data = read(fd, length)
        amounts.append(len(data))
        return data

    with as_operator(), Store.open(root, None, SHARED) as store:
        downloaded(store).close()
        (root / f".provisioner/parts/{KEY}.json").write_bytes(journal(source="x" * 2**20))
        (root / ".provisioner/holders/uid-a.json").write_bytes(b" " * 5 * 2**20)
        monkeypatch.setattr(os, "read", counting_read)
        assert store.files.durable_bytes(plan_of(FILE)) == 0
        assert store.records.unheld().unreadable_records == ("uid-a.json",)
    assert amounts == []


def test_a_journal_that_is_written_has_no_more_spans_than_one_that_is_read(root: Path) -> None:
    spans = Spans(tuple((3 * n, 3 * n + 1) for n in range(10_000)))
    with as_operator(), Store.open(root, None, SHARED) as store:
        part = store.files.part(FILE.planned, 1)
        part.commit(spans)
        part.close()
        again = store.files.part(FILE.planned, 1)
        assert len(again.spans.pairs) > 1000
        assert again.spans.pairs == spans.pairs[: len(again.spans.pairs)]
        again.close()


@pytest.mark.parametrize("data", [b'{"layout":1,"id":"\xff"}', b"[" * 4000], ids=["no UTF-8", "deep nesting"])
def test_a_strange_document_of_the_store_is_a_named_error(root: Path, data: bytes) -> None:
    with as_operator():
        Store.open(root, None).close()
        (root / ".provisioner/store.json").write_bytes(data)
        for opening in (Store.open, Store.find):
            with pytest.raises(VolumeUnsuitable, match="damaged"):
                opening(root, None)


def confirmed_in_time(root: Path) -> bool:
    """Confirms in a process, which this one does not wait for if it is blocked."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            with as_operator(), Store.open(root, None) as store:
                store.records.confirm(CLAIM, 2000)
            code = 0
        finally:
            os._exit(code)
    for _ in range(1000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status == 0
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


@pytest.mark.parametrize("kind", ["pipe", "socket", "link", "second name", "file of another user"])
def test_what_stands_in_for_a_confirmation_is_replaced(root: Path, kind: str) -> None:
    """Opening a pipe to write waits for a reader, and the others would be written to."""
    victim = put(root, "victim", b"victim")
    os.chown(victim, OPERATOR, GROUP)
    with as_operator(), Store.open(root, None) as store:
        store.records.confirm(CLAIM, 1000)
    (path,) = (root / ".provisioner").glob("confirmed-*.json")
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        os.mknod(path, stat.S_IFSOCK | 0o666)
    elif kind == "link":
        path.symlink_to(victim)
    elif kind == "second name":
        path.hardlink_to(victim)
    else:
        path.write_bytes(b"")
        os.chown(path, USER, GROUP)
        path.chmod(0o666)
    assert confirmed_in_time(root)
    with as_operator(), Store.open(root, None) as store:
        assert [found.at for found in store.records.confirmations()] == [2000]
    assert victim.read_bytes() == b"victim"
    assert path.stat().st_uid == OPERATOR


@pytest.mark.parametrize("kind", ["pipe", "directory"])
def test_what_stands_in_for_a_part_or_a_record_stops_no_removal(root: Path, kind: str) -> None:
    def make(path: Path) -> None:
        if kind == "pipe":
            os.mkfifo(path)
        else:
            (path / "full").mkdir(parents=True)

    with as_operator(), Store.open(root, None) as store:
        store.records.settle(holder("a"), plan_of(FILE))
        store.records.settle(holder("b"), plan_of(sample("hf/acme/tiny/other.gguf")))
        for path in (f"parts/{KEY}.json", f"parts/{KEY}.part"):
            make(root / ".provisioner" / path)
        assert store.files.durable_bytes(plan_of(FILE)) == 0
        assert store.records.sweep(frozenset({"models"}), frozenset()).records == ("uid-a", "uid-b")
        make(root / ".provisioner/holders/uid-c.json")
        assert store.records.unheld().unreadable_records == ("uid-c.json",)


def make_deep(directory: Path, levels: int) -> None:
    """`levels` directories, each in the one above, and a model file in the last. The path is too long for a call."""
    current = os.open(directory, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=current)
        below = os.open("d", os.O_RDONLY, dir_fd=current)
        os.close(current)
        current = below
    os.close(os.open("x.gguf", os.O_WRONLY | os.O_CREAT, dir_fd=current))
    os.close(current)


def remove_deep(directory: Path) -> None:
    """Removes such directories from the top: `rm` and shutil need a descriptor or a call for each level."""
    while (directory / "d").exists():
        (directory / "d").rename(directory / "top")
        if (directory / "top/d").exists():
            (directory / "top/d").rename(directory / "d")
        (directory / "top/x.gguf").unlink(missing_ok=True)
        (directory / "top").rmdir()


@pytest.mark.parametrize(("levels", "found"), [(1_500, True), (10_000, False)])
def test_a_tree_of_any_depth_ends_well(root: Path, levels: int, *, found: bool) -> None:
    """As deep as the path of a model can be, which takes more levels than there are descriptors, and deeper."""
    put(root, "hf/acme/tiny/seen.gguf", b"x")
    (root / "hf/deep").mkdir()
    make_deep(root / "hf/deep", levels)
    path = f"hf/deep/{'d/' * levels}x.gguf"
    try:
        with Store.open(root, None) as store:
            unheld = store.records.unheld()
            assert {file.path for file in unheld.published} == {"hf/acme/tiny/seen.gguf", *([path] if found else [])}
            assert store.records.usage().unheld == 1
            if found:
                assert store.records.check((FileRecord(path, 0),)).missing == ()
                store.files.check_paths(plan_of(sample(path)))
            store.records.prune(unheld)
            assert store.records.unheld().published == ()
    finally:
        remove_deep(root / "hf/deep")


def test_the_walk_goes_on_beside_what_it_can_not_enter(root: Path) -> None:
    put(root, "hf/acme/tiny/seen.gguf", b"x")
    put(root, "hf/closed/hidden.gguf", b"x")
    (root / "hf/closed").chmod(0o700)
    (root / "hf/link").symlink_to("/")
    os.mkfifo(root / "hf/pipe.gguf")
    os.mknod(root / "hf/device.gguf", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    with as_operator(), Store.open(root, None) as store:
        assert [file.path for file in store.records.unheld().published] == ["hf/acme/tiny/seen.gguf"]
        assert store.records.usage().unheld == 1


@pytest.mark.parametrize(("mode", "private"), [(0o755, True), (0o700, True), (0o777, False), (0o775, False)])
def test_a_file_system_with_one_mode_for_all_files_must_let_only_the_owner_write(
    tmp_path: Path, mode: int, *, private: bool
) -> None:
    """As SMB mounts do, and FUSE ones with a umask."""
    with faulty_volume(tmp_path / "volume") as volume:
        volume.show(mode=mode)
        if private:
            with Store.open(volume.root, None) as store:
                fetch(store, FILE)
            assert (volume.root / FILE.path).read_bytes() == FILE.content
        else:
            with pytest.raises(VolumeUnsuitable, match=rf"\.provisioner \(mode {mode:04o}\).*dir_mode=0755"):
                Store.open(volume.root, None)


def test_a_file_system_that_gives_all_files_to_another_user_is_named(tmp_path: Path) -> None:
    """As NFS with all_squash does."""
    with faulty_volume(tmp_path / "volume") as volume:
        volume.show(owner=65534)
        with pytest.raises(VolumeUnsuitable, match=r"belongs to user 65534.*all_squash.*runAsUser to 65534"):
            Store.open(volume.root, None)
