"""The programs to compare, and the commands with which each downloads the same file from the hub's `/resolve/` URL.

aria2c does not allocate the file beforehand, which on tmpfs would write every page twice, and splits small files too.
Other options are defaults.

In one of about six rounds aria2c 1.36 stands still for 60 s: one or two of its eight connections to the content host,
opened after the redirect, never get an answer (no socket event, with epoll and with poll). After `--timeout`, 60 s by
default, it requests these parts again. `--log=FILE --log-level=info` shows it as `errorCode=2` with `Timeout.`, and the
wall time is more than 60 s. The cause is not known. Such a round says nothing about speed: leave it out, and count it.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.transfer.hub import Hub
from benchmarks.transfer.measure import Cost, run
from benchmarks.transfer.model import FILE, REPOSITORY

Commands = Callable[[Hub, Path], Sequence[Sequence[str]]]
"""A function of a hub and an empty directory; returns the commands to run one after the other."""


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    commands: Commands
    verifies: bool


def fetch(program: Program, hub: Hub, directory: Path) -> Cost:
    """Raises CalledProcessError, and RuntimeError if there is no file of the model's size afterwards."""
    total = Cost(0.0, 0.0, 0)
    for command in program.commands(hub, directory):
        total += run([*hub.command_prefix, *command], _environment(hub, directory))
    if not any(path.stat().st_size == hub.model.size for path in directory.rglob("*.gguf")):
        raise RuntimeError(f"{program.name} ended well and left no whole file")
    return total


def _environment(hub: Hub, directory: Path) -> Mapping[str, str]:
    """For `hf`: the hub, HTTP instead of Xet, and a home directory of its own."""
    return os.environ | {
        "HF_ENDPOINT": hub.endpoint,
        "HF_HOME": str(directory / "home"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "SSL_CERT_FILE": str(hub.ca_file),
    }


def ours_with(*flags: str) -> Commands:
    def commands(hub: Hub, directory: Path) -> Sequence[Sequence[str]]:
        network = ("--endpoint", hub.endpoint, "--ca-file", str(hub.ca_file), "--allow-host", hub.host)
        program = (sys.executable, "-m", "model_provisioner.cli")
        return [(*program, "fetch", f"hf:{REPOSITORY}", "--to", str(directory), *network, *flags)]

    return commands


def _curl(hub: Hub, directory: Path) -> Sequence[Sequence[str]]:
    flags = ("--silent", "--show-error", "--fail", "--location", "--cacert", str(hub.ca_file))
    return [("curl", *flags, "--output", str(directory / FILE), hub.url)]


def _curl_and_openssl(hub: Hub, directory: Path) -> Sequence[Sequence[str]]:
    return [*_curl(hub, directory), ("openssl", "dgst", "-sha256", str(directory / FILE))]


def _aria2c(hub: Hub, directory: Path) -> Sequence[Sequence[str]]:
    trust = f"--ca-certificate={hub.ca_file}"
    checksum = f"--checksum=sha-256={hub.model.sha256}"
    # By default it splits no part below 40 MiB: a file of 64 MiB would come over two connections, not eight.
    quiet = ("--no-conf", "--quiet", "--file-allocation=none", "--min-split-size=1M")
    return [("aria2c", *quiet, "-x8", "-s8", trust, checksum, "-d", str(directory), "-o", FILE, hub.url)]


def _hf(_: Hub, directory: Path) -> Sequence[Sequence[str]]:
    program = str(Path(sys.executable).with_name("hf"))
    return [(program, "download", REPOSITORY, FILE, "--local-dir", str(directory))]


def _wget(hub: Hub, directory: Path) -> Sequence[Sequence[str]]:
    return [("wget", "--quiet", f"--ca-certificate={hub.ca_file}", "-O", str(directory / FILE), hub.url)]


OURS = Program("model-provisioner fetch", ours_with(), verifies=True)
OURS_IN_ONE = Program("model-provisioner fetch --connections 1", ours_with("--connections", "1"), verifies=True)
CURL = Program("curl", _curl, verifies=False)
CURL_AND_OPENSSL = Program("curl, then openssl dgst -sha256", _curl_and_openssl, verifies=True)
ARIA2C = Program("aria2c -x8 -s8 --checksum", _aria2c, verifies=True)
HF = Program("hf download", _hf, verifies=False)
WGET = Program("wget", _wget, verifies=False)
