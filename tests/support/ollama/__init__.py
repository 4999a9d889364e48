"""What Ollama finds in a directory, by its own code, which is built from the `go.mod` beside this file (`installs`).

Called by tests of the view of Ollama: what we write into it shows only what we believe. `main.go` has the program.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.support import tools


def listing(models: Path) -> dict[str, dict[str, Any]]:
    """The models that an Ollama server with OLLAMA_MODELS=`models` lists, by the names that it shows.

    Each has its `size` in bytes, its `config`, its `texts` by media type, and the `architecture` in the header of each
    of its files. Raises CalledProcessError if Ollama can't read one of them.
    """
    environment = {**os.environ, "OLLAMA_MODELS": str(models)}
    found = json.loads(subprocess.check_output([tools.require("ollama")], env=environment, timeout=60))
    return {one.pop("name"): one for one in found}
