"""A machine with a clock that is wrong by an hour: the fetched file is right, and no request is repeated without need.

libfaketime (0.9 or newer) changes the wall clock of the whole process.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub

MIB = 1024 * 1024
CONTENT = tiny_gguf(size=20 * MIB)


def wrong_by(offset: str) -> dict[str, str]:
    """The environment that gives a process and its children such a clock."""
    return {"LD_PRELOAD": tools.require("libfaketime"), "FAKETIME": offset, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def run(arguments: list[str], offset: str) -> "subprocess.CompletedProcess[str]":
    command, environment = [sys.executable, *arguments], os.environ | wrong_by(offset)
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


@tools.needs("libfaketime")
@pytest.mark.parametrize("offset", ["-1h", "+1h"])
def test_a_clock_that_is_wrong_by_an_hour(hub: Hub, tmp_path: Path, offset: str) -> None:
    told = float(run(["-c", "import time; print(time.time())"], offset).stdout)
    assert 3500 < abs(told - time.time()) < 3700

    hub.repository("acme/tiny").add("m.Q4_K_M.gguf", CONTENT)
    hub.reset_after(10 * MIB)
    flags = [f"--to={tmp_path}", f"--endpoint={hub.endpoint}", f"--ca-file={hub.ca_file}", "--allow-host=127.0.0.1"]
    done = run(["-m", "model_provisioner.cli", "fetch", "hf:acme/tiny", *flags], offset)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "hf/acme/tiny/m.Q4_K_M.gguf").read_bytes() == CONTENT
    assert hub.bytes_sent() <= len(CONTENT) + 4 * MIB
    assert len(hub.log) < 30, "no address is asked for again and again"
