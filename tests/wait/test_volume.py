"""What is seen on a mounted volume."""

from pathlib import Path

import pytest

from model_provisioner.wait.sight import ExitCode, Missing, There, Unreadable
from model_provisioner.wait.volume import checked_path, look

PATH = "hf/owner/repo/model.gguf"


def publish(root: Path, path: str = PATH) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b"GGUF")


def test_a_file_at_its_path_is_there(tmp_path: Path) -> None:
    publish(tmp_path)
    assert look(str(tmp_path), [PATH]) == There(f"{tmp_path}/{PATH}")


@pytest.mark.parametrize("there", ["", "hf", "hf/owner/repo", f"{PATH}.part", f"{PATH}/inside"])
def test_nothing_else_is(there: str, tmp_path: Path) -> None:
    """Not the directories above the file, not a file beside it, and no directory at its path."""
    if there:
        publish(tmp_path, f"{there}/x" if "." not in there else there)
    assert look(str(tmp_path), [PATH]) == Missing(f"{tmp_path}/{PATH}")


def test_a_file_in_the_place_of_a_directory_is_no_error(tmp_path: Path) -> None:
    publish(tmp_path, "hf")
    assert isinstance(look(str(tmp_path), [PATH]), Missing)


def test_all_files_must_be_there(tmp_path: Path) -> None:
    for name in "abc":
        assert isinstance(look(str(tmp_path), ["a", "b", "c"]), Missing)
        publish(tmp_path, name)
    assert look(str(tmp_path), ["b", "a", "c"]) == There(f"{tmp_path}/b")


def test_a_missing_mount_is_unreadable(tmp_path: Path) -> None:
    sight = look(str(tmp_path / "none"), [PATH])
    assert isinstance(sight, Unreadable)
    assert sight.code == ExitCode.VOLUME_UNREADABLE
    assert str(tmp_path / "none") in sight.problem


def test_a_loop_of_links_is_unreadable_and_no_descriptor_is_left(tmp_path: Path) -> None:
    (tmp_path / "hf").symlink_to("hf")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert isinstance(look(str(tmp_path), [PATH]), Unreadable)
    publish(tmp_path, "a")
    look(str(tmp_path), ["a", "b/c/d"])
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../x.gguf",
        "a/../../x",
        "a//b",
        "a/.",
        "./a",
        "a/",
        "a\0b",
        "a\nb",
        "a\x7f",
        "\udcff",
    ],
)
def test_a_path_stays_on_the_volume(path: str) -> None:
    with pytest.raises(ValueError, match="'"):
        checked_path(path)


@pytest.mark.parametrize("path", ["x" * 256, "/".join(["x" * 250] * 16)], ids=["part", "path"])
def test_a_path_that_no_file_system_takes_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is longer than"):
        checked_path(path)


@pytest.mark.parametrize("path", [PATH, "a b.gguf", "..a/b..", "é/ü.gguf", "-x"])
def test_any_other_path_is_taken(path: str) -> None:
    assert checked_path(path) == path
