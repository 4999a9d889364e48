"""kubectl, helm and shell commands as functions, and waiting. Called by the steps; knows no step.

kubectl reads KUBECONFIG itself, so that every kind of login works.
"""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Document = dict[str, Any]

ROOT = Path(__file__).parents[2]
POLL = 0.3  # seconds between two looks at a condition; each look is a process
PATIENCE = 300.0  # seconds for one thing on a machine that is busy with others; an idle one needs a fraction


class Failed(Exception):
    """A command failed, or what a step expects is not so. The message says which and how."""


def run(*command: str, stdin: str | None = None, seconds: float = PATIENCE) -> str:
    """Runs a command at the repository's root; returns its standard output. Raises Failed with what it wrote."""
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=seconds, check=False, cwd=ROOT
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{' '.join(command)} did not end within {seconds:.0f} s") from None
    if done.returncode:
        raise Failed(
            f"{' '.join(command)} ended with {done.returncode}:\n{(done.stdout + done.stderr).strip()[-3000:]}"
        )
    return done.stdout


def shell(command: str) -> None:
    """Runs a command of the settings. An image takes minutes to build where nothing is cached. Raises Failed."""
    run("bash", "-c", command, seconds=1800)


def until(probe: Callable[[], T | None], what: str, seconds: float = PATIENCE) -> T:
    """The first true result of `probe`. Raises Failed with `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        if found := probe():
            return found
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds:.0f} s: {what}")
        time.sleep(POLL)


def check(holds: object, message: str) -> None:
    """Raises Failed with `message` unless `holds` is true."""
    if not holds:
        raise Failed(message)


class Kubectl:
    """kubectl in one namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = PATIENCE) -> str:
        return run("kubectl", "--namespace", self.namespace, *arguments, stdin=stdin, seconds=seconds)

    def apply(self, *documents: Document) -> None:
        self("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}))

    def get(self, kind: str, name: str) -> Document:
        """The object; empty if there is none."""
        found = self("get", kind, name, "--ignore-not-found", "-o", "json")
        document: Document = json.loads(found or "{}")
        return document

    def items(self, kind: str, *flags: str) -> list[Document]:
        items: list[Document] = json.loads(self("get", kind, "-o", "json", *flags))["items"]
        return items

    @contextmanager
    def port_forward(self, target: str, port: int) -> Iterator[int]:
        """The local port that leads to `port` of `target` while the block runs. Raises Failed."""
        command = ["kubectl", "--namespace", self.namespace, "port-forward", target, f":{port}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                found = re.match(r"Forwarding from 127\.0\.0\.1:(\d+)", line)
                if not found:
                    raise Failed(f"kubectl port-forward {target}: {line}")
                yield int(found[1])
            finally:
                process.kill()
