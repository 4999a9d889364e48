"""Runs the client of ModelScope, `modelscope`, in the Python that has it, against the test hub.

Called by `test_modelscope_oracle`: what the client reads from the test hub is what our source must read.
"""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support import tools
from tests.support.hub import Hub

_LISTING = """
import json, sys
from modelscope_hub import HubApi
from modelscope_hub.errors import APIError
repository, revision = sys.argv[1:]
try:
    files = HubApi().list_repo_files(repository, "model", revision=revision or None)
    found = {file.path: (file.size, file.sha256) for file in files if not file.is_dir}
    json.dump({"files": found}, sys.stdout)
except APIError as error:
    json.dump({"error": type(error).__name__}, sys.stdout)
"""


@dataclass(frozen=True, slots=True)
class ModelScopeClient:
    """`home` is a directory for its cache. `token` is that of an account."""

    hub: Hub
    home: Path
    token: str | None = None

    def files(self, repository: str, revision: str = "") -> Mapping[str, tuple[int, str]]:
        """Size and SHA-256 of each file. Raises LookupError, with the name of the client's error."""
        found = json.loads(self._run(["-c", _LISTING, repository, revision]).stdout)
        if "error" in found:
            raise LookupError(found["error"])
        return {path: (size, sha256) for path, (size, sha256) in found["files"].items()}

    def download(self, repository: str, directory: Path, *patterns: str, revision: str = "master") -> None:
        """`modelscope download`, which compares the digests. Raises CalledProcessError."""
        flags = [f"--local-dir={directory}", f"--revision={revision}", *(["--include", *patterns] if patterns else [])]
        self._run(["-m", "modelscope.cli.cli", "download", repository, *flags]).check_returncode()

    def _run(self, arguments: list[str]) -> "subprocess.CompletedProcess[bytes]":
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "MODELSCOPE_ENDPOINT": self.hub.endpoint,
            "REQUESTS_CA_BUNDLE": str(self.hub.ca_file),
            **({"MODELSCOPE_API_TOKEN": self.token} if self.token else {}),
        }
        command = [tools.require("modelscope"), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
