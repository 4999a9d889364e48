"""The places that Helm is taken from, and their order."""

import io
from pathlib import Path

import pytest

from deploy.local.gobuild import BuildFailed
from deploy.local.helm import find_or_build


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_named_one_comes_before_the_one_in_path(tmp_path: Path) -> None:
    named, other = program(tmp_path / "mine"), program(tmp_path / "bin" / "helm")
    assert find_or_build({"HELM": str(named), "PATH": str(other.parent)}) == named
    assert find_or_build({"PATH": str(other.parent)}) == other


def test_without_either_the_built_one_is_taken_from_the_cache(tmp_path: Path) -> None:
    built = program(tmp_path / "model-provisioner" / "helm-v3.22.0" / "helm")
    out = io.StringIO()
    assert find_or_build({"PATH": "/nowhere", "XDG_CACHE_HOME": str(tmp_path)}, out) == built
    assert out.getvalue() == ""


def test_a_named_one_that_is_no_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BuildFailed, match=r"HELM is .*nothing, which is not a program"):
        find_or_build({"HELM": str(tmp_path / "nothing")})
