"""Finds the servers that speak S3, and installs them into a cache outside the tree: moto's, and the Versity gateway.

`tools` calls it; a test asks `tools`. The versions are in `requirements-moto.txt`, and in `go.mod` beside this file.
How a server is started is in `buckets`.
"""

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory

MODULE = Path(__file__).parent
REQUIREMENTS = Path(__file__).parents[3] / "requirements-moto.txt"
_INSTALL = ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]


class NotInstalled(Exception):
    """A server could not be installed. The message says why."""


def moto_python(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The Python that has moto and botocore, None if it is not installed.

    The environment is one of its own: botocore needs `python-dateutil<3`, and the Kubernetes client `>=3`.
    """
    directory = _moto_directory(environment)
    return directory / "bin/python" if (directory / "installed").exists() else None


def versitygw(environment: Mapping[str, str] = os.environ) -> Path | None:
    """The Versity gateway, None if it is not built."""
    program = _versity_directory(environment) / "versitygw"
    return program if program.exists() else None


def install_moto(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> None:
    """Makes the environment of moto, which takes less than a minute. One process does it, others wait.

    Raises NotInstalled.
    """
    directory = _moto_directory(environment)
    directory.mkdir(parents=True, exist_ok=True)
    with gobuild.locked(directory / ".lock", "another process is installing moto: waiting", out or sys.stderr):
        if moto_python(environment):
            return
        venv.create(directory, with_pip=True)
        command = [str(directory / "bin/python"), *_INSTALL, str(REQUIREMENTS)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotInstalled(f"moto could not be installed: {done.stderr.strip()}")
        (directory / "installed").touch()


def build_versitygw(environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> None:
    """Builds the Versity gateway, which takes one to three minutes, with progress on `out`. Raises NotInstalled."""
    program = gobuild.Program("versitygw", "github.com/versity/versitygw/cmd/versitygw", MODULE)
    try:
        gobuild.build(program, _versity_directory(environment), out or sys.stderr)
    except gobuild.BuildFailed as failed:
        raise NotInstalled(str(failed)) from failed


def _moto_directory(environment: Mapping[str, str]) -> Path:
    """One for each content of the requirements and each Python, because an environment belongs to one Python."""
    made_of = f"{sys.base_prefix}\n{REQUIREMENTS.read_text()}"
    return cache_directory(environment) / f"moto-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


def _versity_directory(environment: Mapping[str, str]) -> Path:
    return cache_directory(environment) / f"versitygw-{gobuild.required(MODULE, 'github.com/versity/versitygw')}"
