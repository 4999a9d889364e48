"""The description of the machine and the programs, without a name or a path; and which programs are missing."""

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

_PACKAGES = {  # of Debian, by program
    "nginx": "nginx-light",
    "aria2c": "aria2",
    "wget": "wget",
    "curl": "curl",
    "openssl": "openssl",
    "ip": "iproute2",
}
_VERSIONS = (
    ("curl", "--version"),
    ("openssl", "version"),
    ("aria2c", "--version"),
    ("wget", "--version"),
    ("nginx", "-v"),
)
_LIBRARIES = ("pycurl", "huggingface_hub")
_NUMBER = re.compile(r"\d+(?:\.\d+)+\w*")
_SYSTEM_PATH = "/usr/sbin:/sbin"  # has nginx and ip, and is not on every user's PATH


def advice() -> str | None:
    """Which packages to install before the benchmark can run; None if no program is missing."""
    packages = [package for program, package in _PACKAGES.items() if _find(program) is None]
    return (
        f"some programs are missing: apt-get install --no-install-recommends {' '.join(packages)}" if packages else None
    )


def description() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    programs = ", ".join(f"{command[0]} {_version(*command)}" for command in _VERSIONS)
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB of memory, Linux {_kernel()}; "
        f"Python {platform.python_version()}, {libraries}; {programs}."
    )


def _find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:{_SYSTEM_PATH}")


def _version(program: str, flag: str) -> str:
    done = subprocess.run([_find(program) or program, flag], capture_output=True, text=True, check=False)
    match = _NUMBER.search(done.stdout or done.stderr)  # nginx prints it on standard error
    return match[0] if match else "?"


def _kernel() -> str:
    match = _NUMBER.match(platform.release())
    return match[0] if match else "?"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if sys.platform == "linux" else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
