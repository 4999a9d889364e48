"""The command blocks of the documentation, and how a page's blocks are run. Called by `test_commands`.

A block that is not run has a comment before it, which is not shown to readers: `<!-- not run: REASON -->`.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SHELLS = {"sh", "bash", "shell", "console"}
_PASSES = """#!/bin/sh
# Ends what would not end by itself, and starts no port-forward, which needs a pod.
case " $* " in
  *" port-forward "*) exit 0 ;;
  *" --watch "*|*" -N "*) timeout 5 {program} "$@"; code=$?; [ $code = 124 ] && exit 0; exit $code ;;
esac
exec {program} "$@"
"""


@dataclass(frozen=True, slots=True)
class Block:
    """`not_run` is the reason if it is not run."""

    line: int
    text: str
    not_run: str | None


def commands(page: str) -> list[Block]:
    """The blocks of shell commands on a page, in order."""
    return [
        Block(page.count("\n", 0, found.start("language")) + 1, found["text"], found["reason"])
        for found in _BLOCK.finditer(page)
        if found["language"] in _SHELLS
    ]


def wrappers(directory: Path, programs: Mapping[str, Path | str]) -> Path:
    """A directory for PATH with each program under its name. See `_PASSES` for what they do differently."""
    directory.mkdir()
    for name, program in programs.items():
        wrapper = directory / name
        wrapper.write_text(_PASSES.format(program=program))
        wrapper.chmod(0o755)
    return directory


def run(script: str, directory: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the blocks of a page as one script, which ends at the first command that fails."""
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env=os.environ | environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
        timeout=240,
    )
