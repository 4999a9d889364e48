"""Archives as GNU tar packs them, in each of its formats, and of a file that has no room in octal digits."""

import subprocess
from pathlib import Path

import pytest

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.tar_walk import Walk, advance

GIB = 1024**3


def tar(directory: Path, *flags: str, first: int | None = None) -> bytes:
    """What `tar` writes about `directory`, or its `first` bytes."""
    with subprocess.Popen(["tar", *flags, "-cf", "-", "-C", directory, "."], stdout=-1) as packer:
        assert packer.stdout
        packed = packer.stdout.read(first) if first else packer.stdout.read()
        packer.kill()
    return packed


@pytest.mark.parametrize("format_", ["v7", "oldgnu", "ustar", "gnu", "posix"])
def test_a_model_is_found(tmp_path: Path, format_: str) -> None:
    (tmp_path / "model.gguf").write_bytes(b"GGUF" * 700)
    (tmp_path / "link.gguf").symlink_to("model.gguf")
    packed = tar(tmp_path, f"--format={format_}")
    walk = advance(Walk(len(packed)), packed, 0)
    (member,) = walk.members
    assert (member.name, walk.ended) == ("./model.gguf", True)
    assert packed[member.offset : member.offset + member.size] == b"GGUF" * 700
    assert walk.passed_over == "'./link.gguf' is a symbolic link"


@pytest.mark.parametrize("format_", ["gnu", "posix"])
def test_a_model_of_9_gib_is_found(tmp_path: Path, format_: str) -> None:
    large = tmp_path / "model.gguf"
    with large.open("wb") as file:
        file.truncate(9 * GIB)
    begin = tar(tmp_path, f"--format={format_}", first=8192)
    (member,) = advance(Walk(10 * GIB), begin, 0).members
    assert (member.name, member.size) == ("./model.gguf", 9 * GIB)


def test_a_sparse_file_is_no_model(tmp_path: Path) -> None:
    with (tmp_path / "model.gguf").open("wb") as file:
        file.truncate(GIB)
    packed = tar(tmp_path, "--sparse", "--format=posix")
    walk = advance(Walk(len(packed)), packed, 0)
    assert not walk.members
    assert walk.passed_over.endswith("is a sparse file")
    old = tar(tmp_path, "--sparse", "--format=gnu")
    with pytest.raises(BadArchive, match="without sparse files"):
        advance(Walk(len(old)), old, 0)
