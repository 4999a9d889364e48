"""The places that the programs of the control plane are taken from, and that they are built only once."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local import binaries, gobuild

needs_go = pytest.mark.skipif(not shutil.which("go"), reason="there is no `go` in PATH")


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def module(directory: Path, source: str) -> gobuild.Program:
    """A Go program of one file."""
    directory.mkdir()
    (directory / "go.mod").write_text("module example.com/small\n\ngo 1.24\n")
    (directory / "main.go").write_text(source)
    return gobuild.Program("small", "example.com/small", directory)


def test_assets_come_first(tmp_path: Path) -> None:
    wanted = binaries.Binaries(program(tmp_path / "etcd"), program(tmp_path / "kube-apiserver"))
    assert binaries.find_or_build({"KUBEBUILDER_ASSETS": str(tmp_path)}) == wanted


def test_assets_that_lack_a_program_are_an_error(tmp_path: Path) -> None:
    program(tmp_path / "etcd")
    with pytest.raises(gobuild.BuildFailed, match=r"KUBEBUILDER_ASSETS is .*no program kube-apiserver"):
        binaries.find_or_build({"KUBEBUILDER_ASSETS": str(tmp_path)})


def test_what_was_built_is_found_in_the_cache(tmp_path: Path) -> None:
    directory = tmp_path / "model-provisioner" / "kubernetes-v1.37.2-etcd-v3.7.0"
    directory.mkdir(parents=True)
    wanted = binaries.Binaries(program(directory / "etcd"), program(directory / "kube-apiserver"))
    assert binaries.find_or_build({"XDG_CACHE_HOME": str(tmp_path)}) == wanted


def test_without_go_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(gobuild.GoMissing, match="install Go"):
        binaries.find_or_build({"XDG_CACHE_HOME": str(tmp_path)})


@needs_go
def test_a_program_is_built_once_and_says_so(tmp_path: Path) -> None:
    small = module(tmp_path / "source", 'package main\n\nfunc main() { print("hello") }\n')
    out = io.StringIO()
    built = gobuild.build(small, tmp_path / "built", out)
    assert subprocess.run([built], check=True, capture_output=True, text=True).stderr == "hello"
    assert out.getvalue().startswith("built small in ")
    (small.module / "main.go").write_text("not Go")
    assert gobuild.build(small, tmp_path / "built", out) == built


@needs_go
def test_a_failed_build_shows_what_go_said_and_leaves_nothing(tmp_path: Path) -> None:
    small = module(tmp_path / "source", "package main\n\nfunc main() { undefined() }\n")
    with pytest.raises(gobuild.BuildFailed, match="undefined: undefined"):
        gobuild.build(small, tmp_path / "built", io.StringIO())
    assert [path.name for path in (tmp_path / "built").iterdir()] == [".small.lock"]


@needs_go
def test_two_that_want_the_same_build_it_once(tmp_path: Path) -> None:
    module(tmp_path / "source", "package main\n\nfunc main() {}\n")
    script = (
        "import sys; from pathlib import Path; from deploy.local import gobuild;"
        f"small = gobuild.Program('small', 'example.com/small', Path({str(tmp_path / 'source')!r}));"
        f"gobuild.build(small, Path({str(tmp_path / 'built')!r}), sys.stderr)"
    )
    environment = os.environ | {"GOCACHE": str(tmp_path / "gocache")}  # empty, so that the two builds overlap
    root = Path(__file__).parents[2]
    both = [
        subprocess.Popen([sys.executable, "-c", script], cwd=root, env=environment, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [process.communicate()[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert sum("built small" in text for text in said) == 1, said
