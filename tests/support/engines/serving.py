"""A `llama-server` on loopback for a test, and what a test asks it.

Called by the tests of engines; `deploy.e2e` asks the server in its pod. Two threads that wait for each other are slow
on a busy machine, so the server has one.
"""

import contextlib
import json
import os
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support import tools
from tests.support.engines import llama_server
from tests.support.programs import eventually, free_port

_SECONDS = 240  # for one answer; a prompt takes a second on a machine that does nothing else
_FLAGS = ["--host", "127.0.0.1", "--threads", "1", "--ctx-size", "512", "--parallel", "1", "--no-warmup", "--offline"]

COUNTING = "one, two, three, four, five, six, seven, eight,"
"""A prompt whose next token, " nine", is the same with every processor and version."""


class Engine:
    """One server at `origin`."""

    def __init__(self, origin: str) -> None:
        self._origin = origin

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.get("/health")["status"] == "ok")
        return False

    def get(self, path: str) -> Any:
        return self._ask(urllib.request.Request(f"{self._origin}{path}"))

    def complete(self, prompt: str, tokens: int, model: str = "") -> str:
        """The likeliest next tokens as text. Raises HTTPError, of which the server's error is a note."""
        asked = {"prompt": prompt, "max_tokens": tokens, "temperature": 0, **({"model": model} if model else {})}
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{self._origin}/v1/completions", json.dumps(asked).encode(), headers)
        answer = self._ask(request)
        assert answer["usage"]["completion_tokens"] == tokens
        return str(answer["choices"][0]["text"])

    def models(self) -> set[str]:
        """The names of the models that a router has."""
        return {one["id"] for one in self.get("/models?reload=1")["data"]}

    def _ask(self, request: urllib.request.Request) -> Any:
        try:
            with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            error.add_note(error.read().decode(errors="replace"))
            raise


@contextlib.contextmanager
def serving(log: Path, *flags: str) -> Iterator[Engine]:
    """A server that is ready, until the end of the block. Skips the test if there is no program.

    The address, the port and the number of threads in `flags` have no effect.
    """
    program, port = tools.require("llama-server"), free_port()
    environment = os.environ | llama_server.variables()
    with log.open("wb") as output:
        command = [program, *flags, *_FLAGS, "--port", str(port)]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
    engine = Engine(f"http://127.0.0.1:{port}")
    try:
        eventually(lambda: process.poll() is not None or engine.ready(), "the engine is ready", _SECONDS)
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        yield engine
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
