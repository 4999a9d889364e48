"""Installs what tests use and Debian has no package of, into a cache outside the tree.

Two kinds: Python packages in an environment of their own, because their dependencies contradict ours, and Go programs,
which are built. `tools` has them installed; a test asks `tools`.
"""

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from deploy.local import gobuild
from deploy.local.binaries import cache_directory

_SUPPORT = Path(__file__).parent
_ROOT = _SUPPORT.parents[1]
_INSTALL = ["-I", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r"]


class NotInstalled(Exception):
    """Something could not be installed. The message says why."""


@dataclass(frozen=True, slots=True)
class PythonEnvironment:
    """The packages of the file `requirements`, which has all of them with their hashes, under the name `name`."""

    name: str
    requirements: Path

    def python(self, environment: Mapping[str, str] = os.environ) -> Path | None:
        """The interpreter that has them, None if they are not installed."""
        directory = self._directory(environment)
        return directory / "bin/python" if (directory / "installed").exists() else None

    def install(self, environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> None:
        """Takes less than a minute. One process does it, others wait. Raises NotInstalled."""
        directory = self._directory(environment)
        directory.mkdir(parents=True, exist_ok=True)
        waiting = f"another process is installing {self.name}: waiting"
        with gobuild.locked(directory / ".lock", waiting, out or sys.stderr):
            if self.python(environment):
                return
            venv.create(directory, with_pip=True)
            command = [str(directory / "bin/python"), *_INSTALL, str(self.requirements)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise NotInstalled(f"{self.name} could not be installed: {done.stderr.strip()}")
            (directory / "installed").touch()

    def _directory(self, environment: Mapping[str, str]) -> Path:
        """One for each content of the requirements and each Python, because an environment belongs to one Python."""
        made_of = f"{sys.base_prefix}\n{self.requirements.read_text()}"
        return cache_directory(environment) / f"{self.name}-{hashlib.sha256(made_of.encode()).hexdigest()[:12]}"


@dataclass(frozen=True, slots=True)
class GoProgram:
    """`package`, the main package, is of `module`, whose version is in the go.mod in `directory`.

    A package `.` is in `directory` itself, and uses `module`.
    """

    name: str
    package: str
    module: str
    directory: Path

    def path(self, environment: Mapping[str, str] = os.environ) -> Path | None:
        """The program, None if it is not built."""
        program = self._cached(environment) / self.name
        return program if program.exists() else None

    def build(self, environment: Mapping[str, str] = os.environ, out: TextIO | None = None) -> None:
        """Takes up to three minutes, with progress on `out`. Raises NotInstalled."""
        program = gobuild.Program(self.name, self.package, self.directory)
        try:
            gobuild.build(program, self._cached(environment), out or sys.stderr)
        except gobuild.BuildFailed as failed:
            raise NotInstalled(str(failed)) from failed

    def _cached(self, environment: Mapping[str, str]) -> Path:
        own = b"".join(source.read_bytes() for source in sorted(self.directory.glob("*.go")))
        suffix = f"-{hashlib.sha256(own).hexdigest()[:12]}" if own else ""
        return cache_directory(environment) / f"{self.name}-{gobuild.required(self.directory, self.module)}{suffix}"


CHECKOV = PythonEnvironment("checkov", _ROOT / "requirements-checkov.txt")
"""A checker of rendered charts, which pins the versions of most packages that it needs."""
MOTO = PythonEnvironment("moto", _ROOT / "requirements-moto.txt")
"""A server of S3, and botocore, which needs `python-dateutil<3`; the Kubernetes client needs `>=3`."""
MODELSCOPE = PythonEnvironment("modelscope", _ROOT / "requirements-modelscope.txt")
"""The client of ModelScope."""
VERSITYGW = GoProgram(
    "versitygw",
    "github.com/versity/versitygw/cmd/versitygw",
    "github.com/versity/versitygw",
    _SUPPORT / "s3_servers",
)
"""Another server of S3."""
OLLAMA = GoProgram("ollama-list", ".", "github.com/ollama/ollama", _SUPPORT / "ollama")
"""Reads a directory of models as Ollama does, with its own code. The server itself needs a C++ compiler."""
ORAS = GoProgram("oras", "oras.land/oras/cmd/oras", "oras.land/oras", _SUPPORT / "oras")
"""The program that pushes artifacts to OCI registries."""
