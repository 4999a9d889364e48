"""What prevents a file from being published is reported when the plan is settled, before a byte is fetched."""

import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.errors import PathConflict, ProvisionError, VolumeNotWritable, VolumeUnsuitable
from model_provisioner.transfer.store.store import Store
from tests.support.faulty_volume import FaultyVolume, faulty_volume
from tests.support.models import fetch, files_below, holder, plan_of, private_files, put, sample
from tests.support.volumes import acting_as, needs_root, read_only, small_volume

FILE = sample("hf/acme/tiny/tiny.Q4_K_M.gguf")
ANOTHER_USER = 4711


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultyVolume]:
    with faulty_volume(tmp_path / "faulty") as mounted:
        yield mounted


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        directory = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{directory}/{path.name}")  # the address of a socket has at most 108 bytes
        os.close(directory)


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o644, os.makedev(1, 3))


KINDS: dict[str, Callable[[Path], None]] = {
    "a symbolic link": _link,
    "a directory": lambda path: path.mkdir(),
    "a file": lambda path: path.touch(),
    "a named pipe": os.mkfifo,
    "a socket": _socket,
    "a device": _device,
}
OBSTACLES = [
    pytest.param(path, kind, marks=needs_root if kind == "a device" else ())
    for path, usual in (
        ("hf", "a directory"),
        ("hf/acme", "a directory"),
        ("hf/acme/tiny", "a directory"),
        (FILE.path, "a file"),
    )
    for kind in KINDS
    if kind != usual
]


def refused(store: Store, error: type[ProvisionError], says: str) -> None:
    """Checks that to settle, to check and to begin a fetch raise `error`."""
    for step in (
        lambda: store.records.settle(holder("a"), plan_of(FILE)),
        lambda: store.files.part(FILE.planned, 1),
        lambda: store.files.check_paths(plan_of(FILE)),
    ):
        with pytest.raises(error, match=says):
            step()


@pytest.mark.parametrize(("path", "kind"), OBSTACLES)
def test_something_else_on_the_path_is_named_and_stays(store: Store, root: Path, path: str, kind: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    KINDS[kind](root / path)
    before = sorted(root.rglob("*"))
    refused(store, PathConflict, f"^{path} is {kind}, and .*: remove or rename it on the volume")
    assert sorted(root.rglob("*")) == before


@needs_root
@pytest.mark.parametrize("directory", ["", "hf", "hf/acme", "hf/acme/tiny"])
def test_a_directory_of_another_owner_is_named(store: Store, root: Path, directory: str) -> None:
    (root / directory).mkdir(parents=True, exist_ok=True)
    for path in (root / ".provisioner").rglob("*"):
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    os.chown(root / ".provisioner", ANOTHER_USER, ANOTHER_USER)
    before = sorted(root.rglob("*"))
    with acting_as(ANOTHER_USER):
        named = directory or "the volume's root"
        refused(store, VolumeNotWritable, rf"write to {named} \(owner 0:0, mode 0755\).*{ANOTHER_USER}.*chown -R")
    assert sorted(root.rglob("*")) == before


@needs_root
def test_a_directory_that_can_not_be_opened_is_named(store: Store, root: Path) -> None:
    (root / "hf/acme").mkdir(parents=True)
    (root / "hf/acme").chmod(0o700)
    for path in (root / ".provisioner", *(root / ".provisioner").rglob("*")):
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    with acting_as(ANOTHER_USER):
        refused(
            store, VolumeNotWritable, r"open hf/acme \(owner 0:0\), the directory of .*: Permission denied.*chown -R"
        )


@needs_root
def test_a_file_that_is_there_needs_no_directory_that_can_be_written(store: Store, root: Path) -> None:
    put(root, FILE.path, FILE.content)
    for path in (root / ".provisioner", root / ".provisioner/holders"):
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    with acting_as(ANOTHER_USER):
        store.records.settle(holder("a"), plan_of(FILE))
    assert private_files(root, "holders") == {"uid-a.json"}


@needs_root
@pytest.mark.parametrize("path", [FILE.path, "local/mine.gguf"])
def test_a_file_that_can_not_be_read_is_named(store: Store, root: Path, path: str) -> None:
    file = sample(path)
    put(root, path, file.content).chmod(0o600)
    os.chown(root / ".provisioner/holders", ANOTHER_USER, ANOTHER_USER)
    with acting_as(ANOTHER_USER), pytest.raises(VolumeNotWritable, match=f"read {path}: Permission denied.*chown"):
        store.records.settle(holder("a"), plan_of(file))
    assert private_files(root, "holders") == set()


@needs_root
def test_a_file_of_another_owner_in_a_sticky_directory_can_not_be_replaced(store: Store, root: Path) -> None:
    put(root, FILE.path, b"of another size")
    (root / FILE.path).parent.chmod(0o1777)
    for path in (root / ".provisioner", root / ".provisioner/parts", root / ".provisioner/holders"):
        os.chown(path, ANOTHER_USER, ANOTHER_USER)
    with acting_as(ANOTHER_USER):
        refused(store, VolumeNotWritable, r"write to hf/acme/tiny \(owner 0:0, mode 1777\)")
    os.chown(root / FILE.path, ANOTHER_USER, ANOTHER_USER)
    with acting_as(ANOTHER_USER):
        store.records.settle(holder("a"), plan_of(FILE))
        fetch(store, FILE)
    assert (root / FILE.path).read_bytes() == FILE.content


def test_a_read_only_mount_is_named_also_if_the_plan_was_settled_before(root: Path, tmp_path: Path) -> None:
    with Store.open(root, None) as store:
        store.records.settle(holder("a"), plan_of(FILE))
    with read_only(root, tmp_path / "mount") as mounted, Store.open(mounted, store.id) as store:
        refused(
            store, VolumeNotWritable, r"write to the volume's root \(.*Read-only file system: check that the volume"
        )


@pytest.mark.parametrize("kind", ["writable", "read-only"])
def test_another_volume_below_the_root_is_named(store: Store, root: Path, tmp_path: Path, kind: str) -> None:
    (tmp_path / "other").mkdir()
    mounting = read_only(tmp_path / "other", root / "hf") if kind == "read-only" else small_volume(root / "hf", 2**20)
    with mounting:
        refused(store, VolumeUnsuitable, r"write to hf \(.*another file system is mounted below")
        assert list((root / "hf").iterdir()) == []


def test_a_name_that_is_too_long_for_the_file_system_is_named(faulty: FaultyVolume) -> None:
    """As on eCryptfs, which accepts 143 bytes. The directories above do not exist yet."""
    file = sample(f"hf/acme/tiny/{'x' * 150}.gguf")
    with Store.open(faulty.root, None) as store:
        faulty.limit_names(143)
        with pytest.raises(VolumeUnsuitable, match=r"look for hf/acme/tiny/x.*does not accept this name"):
            store.records.settle(holder("a"), plan_of(file))
        assert private_files(faulty.root, "holders") == set()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("EACCES", VolumeNotWritable),
        ("EPERM", VolumeNotWritable),
        ("EROFS", VolumeNotWritable),
        ("EIO", VolumeNotWritable),
        ("EILSEQ", VolumeUnsuitable),
        ("EXDEV", VolumeUnsuitable),
    ],
)
def test_the_file_system_is_tried_because_rights_do_not_tell_all(
    faulty: FaultyVolume, error: str, told: type[ProvisionError]
) -> None:
    with Store.open(faulty.root, None) as store:
        faulty.fail(error, calls=("mkdir",))
        with pytest.raises(told, match=r"write to the volume's root \("):
            store.records.settle(holder("a"), plan_of(FILE))
        faulty.heal()
        put(faulty.root, "hf/acme/tiny/other.gguf", b"")
        faulty.fail(error, calls=("rename",))
        with pytest.raises(told, match=r"write to hf/acme/tiny \("):
            store.records.settle(holder("a"), plan_of(FILE))
        faulty.heal()
        store.records.settle(holder("a"), plan_of(FILE))
        fetch(store, FILE)
    assert files_below(faulty.root) == {FILE.path, "hf/acme/tiny/other.gguf"}


def test_a_full_volume_is_no_obstacle_for_what_is_settled_already(tmp_path: Path) -> None:
    with small_volume(tmp_path / "small", 2**20) as root, Store.open(root, None) as store:
        store.records.settle(holder("a"), plan_of(FILE))
        facts = os.statvfs(root)
        put(root, "ballast", bytes(facts.f_bavail * facts.f_frsize))
        assert store.records.settle(holder("a"), plan_of(FILE)) == plan_of(FILE)


def test_what_a_crash_left_of_the_check_is_no_obstacle(store: Store, root: Path) -> None:
    for directory in ("", "hf", "hf/acme/tiny"):
        put(root / directory, ".provisioner-probe", b"")
        (root / directory / ".provisioner-probe.d").mkdir()
        store.records.settle(holder("a"), plan_of(FILE))
    fetch(store, FILE)
    assert (root / FILE.path).read_bytes() == FILE.content
