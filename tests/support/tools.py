"""The programs that tests use beside Python, Go, make and git: what each is called, and what installs it.

Most are packages of Debian; what `installs` makes goes to a cache. `make test` runs this module, which installs
what is missing if it may. A test asks with `require` and is skipped if a program is missing, with a reason that names
it. No other file decides whether a tool is there.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.engines import gemma, llama_server
from tests.support.installs import CHECKOV, MODELSCOPE, MOTO, OLLAMA, ORAS, VERSITYGW, NotInstalled

_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"  # Debian has nginx in /usr/sbin, which is not on every PATH


@dataclass(frozen=True, slots=True)
class Tool:
    """`find` returns the path of a program or library, None if it is not installed.

    It is installed from `package`, a package of Debian, else by `install`, which raises NotInstalled.
    """

    package: str | None
    find: Callable[[], str | Path | None]
    install: Callable[[], None] | None = None


def _program(name: str, package: str | None = None) -> Tool:
    return Tool(package or name, lambda: shutil.which(name, path=_PATH))


def _library(pattern: str, package: str) -> Tool:
    return Tool(package, lambda: next((str(path) for path in sorted(Path("/usr/lib").glob(pattern))), None))


TOOLS = {
    "checkov": Tool(None, CHECKOV.python, CHECKOV.install),
    "chromedriver": _program("chromedriver", "chromium-driver"),
    "chromium": _program("chromium"),
    "curl": _program("curl"),
    "docker-registry": _program("docker-registry"),
    "fuse": _program("fusermount3", "fuse3"),
    "gemma": Tool(None, gemma.path, gemma.install),
    "libfaketime": _library("*/faketime/libfaketime.so.1", "libfaketime"),
    "llama-server": Tool(None, llama_server.path, llama_server.install),
    "modelscope": Tool(None, MODELSCOPE.python, MODELSCOPE.install),
    "moto": Tool(None, MOTO.python, MOTO.install),
    "nginx": _program("nginx", "nginx-light"),
    "ollama": Tool(None, OLLAMA.path, OLLAMA.build),
    "oras": Tool(None, ORAS.path, ORAS.build),
    "patchelf": _program("patchelf"),
    "promtool": _program("promtool", "prometheus"),
    "strace": _program("strace"),
    "versitygw": Tool(None, VERSITYGW.path, VERSITYGW.build),
}


def require(name: str) -> str:
    """The path of a tool. Skips the test if the tool is not installed."""
    found = TOOLS[name].find()
    if found is None:
        pytest.skip(_reason(name))
    return str(found)


def needs(name: str) -> pytest.MarkDecorator:
    """The mark of a test, or a file of tests, that is skipped if a tool is not installed."""
    return pytest.mark.skipif(TOOLS[name].find() is None, reason=_reason(name))


def missing_packages() -> list[str]:
    """The packages of Debian that have the missing tools, sorted."""
    return sorted({tool.package for tool in TOOLS.values() if tool.package and tool.find() is None})


def install_command(packages: Sequence[str], *, uid: int, has: Callable[[str], bool]) -> list[str] | None:
    """The command that installs `packages`: as root, or by sudo if it asks for no password. None if neither works.

    `has` tells whether a command succeeds or a program exists, by its first words.
    """
    if not has("apt-get"):
        return None
    install = f"apt-get update -qq && apt-get install -y -qq --no-install-recommends {' '.join(packages)}"
    shell = ["env", "DEBIAN_FRONTEND=noninteractive", "sh", "-c", install]
    if uid == 0:
        return shell
    return ["sudo", "-n", *shell] if has("sudo") else None


def _reason(name: str) -> str:
    package = TOOLS[name].package
    how = f"Debian: {package}" if package else "`python -m tests.support.tools` installs it"
    return f"{name} is not installed ({how})"


def _has(name: str) -> bool:
    if name == "sudo":
        return bool(shutil.which("sudo")) and not subprocess.run(["sudo", "-n", "true"], check=False).returncode
    return shutil.which(name) is not None


def main() -> int:
    """Always 0: a tool that is missing skips tests and fails none."""
    _install_packages()
    for tool in TOOLS.values():
        if tool.install and tool.find() is None:
            try:
                tool.install()
            except NotInstalled as reason:
                sys.stderr.write(f"tests are skipped for want of tools: {reason}\n")
    return 0


def _install_packages() -> None:
    packages = missing_packages()
    if not packages:
        return
    command = install_command(packages, uid=os.geteuid(), has=_has)
    if command and subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode == 0:
        packages = missing_packages()
    if packages:
        install = f"apt-get install --no-install-recommends {' '.join(packages)}"
        sys.stderr.write(f"tests are skipped for want of tools; to run them: {install}\n")


if __name__ == "__main__":
    raise SystemExit(main())
