"""Pushes artifacts to a registry with `oras`, which is built from the `go.mod` beside this file (`installs`).

Called by tests of `oci:` models: an artifact that our own pusher (`registry`) makes shows only what we believe.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support import tools


@dataclass(frozen=True, slots=True)
class Oras:
    """Pushes to `repository` of the registry at `host`, `<host>:<port>` without TLS. `directory` has what is pushed.

    `login` is a user name and a password.
    """

    host: str
    repository: str
    directory: Path
    login: tuple[str, str] | None = None

    def push(self, tag: str, *files: str, flags: Sequence[str] = ()) -> str:
        """`oras push` of `<path>[:<media type>]`, relative to `directory`. Returns the digest of the manifest."""
        self._run("push", *flags, self._name(tag), *files)
        return self._digest(tag)

    def index(self, tag: str, *digests: str) -> str:
        """`oras manifest index create` of manifests that were pushed. Returns the digest of the index."""
        self._run("manifest", "index", "create", self._name(tag), *digests)
        return self._digest(tag)

    def _digest(self, tag: str) -> str:
        return self._run("resolve", self._name(tag)).strip()

    def _name(self, tag: str) -> str:
        return f"{self.host}/{self.repository}:{tag}"

    def _run(self, *arguments: str) -> str:
        login = [f"--username={self.login[0]}", f"--password={self.login[1]}"] if self.login else []
        command = [tools.require("oras"), *arguments, "--plain-http", *login]
        environment = {**os.environ, "DOCKER_CONFIG": str(self.directory)}  # not that of the user
        return subprocess.check_output(command, cwd=self.directory, env=environment, text=True, timeout=60)
