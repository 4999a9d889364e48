"""What is read from the mounted catalog: the entries that the operator writes, as the kubelet mounts them."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.catalog import Entry, rows
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.wait.catalog import files_of, look_up
from model_provisioner.wait.sight import ExitCode, Missing, There, Unreadable
from tests.support.samples import MODEL

PARTS = tuple(f"hf/o/r/m-0000{number}-of-00002.gguf" for number in (1, 2))


def mounted(directory: Path, version: str, data: dict[str, str]) -> None:
    """As the kubelet writes a ConfigMap: a directory for each version, links to its keys, a link that is renamed."""
    (directory / f"..{version}").mkdir(parents=True)
    for key, value in data.items():
        (directory / f"..{version}" / key).write_text(value)
        if not (directory / key).is_symlink():
            (directory / key).symlink_to(f"..data/{key}")
    (directory / "..data_tmp").symlink_to(f"..{version}")
    (directory / "..data_tmp").rename(directory / "..data")


def publish(root: Path, path: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_bytes(b"GGUF")


def test_the_entry_of_the_operator_says_all_files(tmp_path: Path) -> None:
    catalog, models = tmp_path / "catalog", tmp_path / "models"
    catalog.mkdir()
    models.mkdir()
    model = replace(MODEL, path=PARTS[0], files=tuple(FileRecord(part, 4, None) for part in PARTS))
    assert look_up(str(catalog), "tiny", str(models)) == Missing(f"tiny in the catalog at {catalog}")
    mounted(catalog, "1", dict(rows("other", Entry("hf:o/r", model))))
    assert isinstance(look_up(str(catalog), "tiny", str(models)), Missing)
    mounted(catalog, "2", dict(rows("tiny", Entry("hf:o/r", model))))
    for part in reversed(PARTS):
        assert isinstance(look_up(str(catalog), "tiny", str(models)), Missing)
        publish(models, part)
    assert look_up(str(catalog), "tiny", str(models)) == There(f"{models}/{PARTS[0]}")


def test_the_projector_is_waited_for() -> None:
    entry = {"path": "m.gguf", "files": [{"path": "m.gguf"}], "projector": {"path": "mmproj.gguf"}}
    assert files_of(json.dumps(entry).encode()) == ("m.gguf", "mmproj.gguf")


def test_a_catalog_that_is_not_mounted_is_unreadable(tmp_path: Path) -> None:
    sight = look_up(str(tmp_path / "none"), "tiny", str(tmp_path))
    assert isinstance(sight, Unreadable)
    assert sight.code == ExitCode.CATALOG_UNREADABLE


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"path": "a", "files": {}}',
        '{"path": 1, "files": []}',
        '{"path": "../../etc/passwd", "files": []}',
        '{"path": "a", "files": [{"path": "/etc/passwd"}]}',
        '{"path": "a", "files": ["b"]}',
        '{"path": "a", "files": [], "projector": "b"}',
        '{"path": "\\ud800", "files": []}',
        '{"path": "a", "files": []}' + " " * 1024 * 1024,
        json.dumps({"path": "a", "files": [{"path": "a"}] * 4098}),
    ],
    ids=range(12),
)
def test_a_wrong_entry_is_waited_out(entry: str, tmp_path: Path) -> None:
    (tmp_path / "tiny.json").write_text(entry)
    sight = look_up(str(tmp_path), "tiny", str(tmp_path))
    assert isinstance(sight, Missing)
    assert sight.what.startswith(f"a valid entry of tiny in the catalog at {tmp_path}: ")
    assert len(sight.what) < 400 + len(str(tmp_path))


@given(st.binary())
def test_no_bytes_break_the_reader(text: bytes) -> None:
    with pytest.raises(ValueError, match="it must be"):
        files_of(text)
