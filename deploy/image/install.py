"""`python deploy/image/install.py dependencies | program DIRECTORY`: installs what the image has into an environment.

`dependencies` makes the environment from the requirements and their hashes. `program` builds the wheel, adds it, leaves
out what is never imported (`slim`) and compiles the rest. With two commands, a builder keeps the layer of the
first one while only the program changes. `deploy/Dockerfile` and the Makefile call it. It needs pip and the standard
library.
"""

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
IMPORT_EVERYTHING = """
import importlib, pkgutil
import model_provisioner.controller  # first, as in the operator
for module in pkgutil.walk_packages(model_provisioner.__path__, "model_provisioner."):
    importlib.import_module(module.name)
"""


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[1] not in COMMANDS:
        print(__doc__, file=sys.stderr)
        return 2
    COMMANDS[sys.argv[1]](Path(sys.argv[2]).resolve())
    return 0


def dependencies(environment: Path) -> None:
    venv.create(environment, clear=True, symlinks=True)
    install(environment, "--require-hashes", "-r", str(ROOT / "requirements.txt"))


def program(environment: Path) -> None:
    python = str(environment / "bin" / "python")
    with tempfile.TemporaryDirectory() as directory:
        builder, wheels = Path(directory) / "builder", Path(directory) / "wheels"
        venv.create(builder, symlinks=True)
        install(builder, "--require-hashes", "-r", str(HERE / "requirements-build.txt"))
        pip(builder, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={wheels}", str(ROOT))
        install(environment, "--no-deps", *(str(wheel) for wheel in wheels.glob("*.whl")))
    run(python, str(HERE / "slim.py"))
    run(python, "-c", IMPORT_EVERYTHING)
    run(python, "-m", "compileall", "-q", str(environment / "lib"))


def install(environment: Path, *what: str) -> None:
    pip(environment, "install", "--no-compile", *what)


def pip(environment: Path, command: str, *flags: str) -> None:
    """Runs the pip of this interpreter, so that the environment itself needs none."""
    quiet = ("--quiet", "--disable-pip-version-check", "--no-cache-dir")
    python = str(environment / "bin" / "python")
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        command,
        *(quiet if command == "install" else quiet[:-1]),
        *flags,
    )


def run(*command: str) -> None:
    subprocess.run(command, check=True)


COMMANDS = {"dependencies": dependencies, "program": program}

if __name__ == "__main__":
    raise SystemExit(main())
