"""A program of a newer release of Debian with all its libraries, unpacked into the cache and not installed.

Called by `llama_server`. The machine's own apt fetches the packages from the machine's own archive, with lists of its
own, and verifies the archive's signature. The version is what the release has on the day of the first installation.
"""

import os
import re
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.binaries import cache_directory
from tests.support.installs import NotInstalled

_SECONDS = 300  # for one command; the packages have 19 MB


@dataclass(frozen=True, slots=True)
class DebianProgram:
    """The package `package` of the release `release`, such as `forky`."""

    package: str
    release: str

    def root(self, environment: Mapping[str, str] = os.environ) -> Path | None:
        """The directory that has the package and what it depends on, as a root has them. None if it is not there."""
        root = self._directory(environment) / "root"
        return root if root.exists() else None

    def install(self, environment: Mapping[str, str] = os.environ) -> Path:
        """Takes ten seconds. Returns the root. Raises NotInstalled."""
        directory = self._directory(environment)
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            packages = self._fetch(Path(scratch))
            unpacked = Path(scratch) / "root"
            for package in packages:
                _run("dpkg-deb", "--extract", str(package), str(unpacked))
            for link in ("bin", "lib", "lib64", "sbin"):  # Debian's package base-files has them
                if (unpacked / "usr" / link).exists():
                    (unpacked / link).symlink_to(f"usr/{link}")
            (unpacked / "tmp").mkdir()
            unpacked.rename(directory / "root")
        return directory / "root"

    def _directory(self, environment: Mapping[str, str]) -> Path:
        return cache_directory(environment) / f"{self.package}-{self.release}"

    def _fetch(self, scratch: Path) -> list[Path]:
        for name in ("lists/partial", "archives/partial"):
            (scratch / name).mkdir(parents=True)
        (scratch / "status").touch()  # no package is installed, so all that it depends on is fetched
        (scratch / "sources.list").write_text(f"deb {_archive()} {self.release} main\n")
        apt = ["apt-get", "-qq", "-y", *_options(scratch)]
        _run(*apt, "update")
        _run(*apt, "--no-install-recommends", "--download-only", "install", self.package)
        return sorted((scratch / "archives").glob("*.deb"))


def _options(scratch: Path) -> Sequence[str]:
    options = {
        "Dir::Etc::SourceList": scratch / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch,
        "Dir::Cache::archives": scratch / "archives",
        "Debug::NoLocking": "1",
        "APT::Sandbox::User": "",  # the user `_apt` may not enter the cache
        "Acquire::Languages": "none",
        "Acquire::Check-Valid-Until": "false",  # a mirror may be late
    }
    return [word for name, value in options.items() for word in ("-o", f"{name}={value}")]


def _archive() -> str:
    """The archive of this machine's own release. Security updates and other additions have a `-` in their name."""
    listed = _run("apt-get", "update", "--print-uris")
    found = re.search(r"^'(\S+)/dists/[a-z]+/InRelease'", listed, re.MULTILINE)
    if not found:
        raise NotInstalled("apt has no archive of Debian")
    return found[1]


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotInstalled(f"{command[0]}: {error}") from error
    if done.returncode:
        raise NotInstalled(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-1000:]}")
    return done.stdout
