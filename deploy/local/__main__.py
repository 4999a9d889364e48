"""`python -m deploy.local run | up | down | build`: a control plane for interactive use.

`run` runs one until Ctrl-C. `up` starts one in the background and prints how to use it; `down` stops that one. `build`
only builds the programs. A checkout has at most one control plane in the background. Called by the Makefile.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.local import binaries, gobuild
from deploy.local.cluster import Cluster
from deploy.local.processes import ProcessEnded

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / ".artifacts" / "cluster"
UP_WITHIN = 60.0  # seconds, once the programs are built
DOWN_WITHIN = 20.0  # seconds


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m deploy.local", description="A Kubernetes control plane on loopback."
    )
    parser.add_argument("command", choices=["run", "up", "down", "build"])
    parser.add_argument("--directory", type=Path, default=DIRECTORY, help="where it keeps its files (%(default)s)")
    arguments = parser.parse_args()
    commands = {"run": _run, "up": _up, "down": _down, "build": _build}
    try:
        return commands[arguments.command](arguments.directory.resolve())
    except (gobuild.BuildFailed, ProcessEnded, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _build(_: Path) -> int:
    binaries.find_or_build()
    return 0


def _run(directory: Path) -> int:
    """Runs until SIGTERM or SIGINT. Both raise KeyboardInterrupt, so that the `with` block stops everything."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores SIGINT in background jobs
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    try:
        _pid_file(directory).write_text(str(os.getpid()))
        with Cluster(binaries.find_or_build(), directory) as cluster:
            cluster.apply(ROOT / "crds")
            print(_usage(cluster), flush=True)
            while True:
                cluster.check()
                time.sleep(1)
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _up(directory: Path) -> int:
    if _running(directory):
        print(f"a control plane runs already: export KUBECONFIG={directory}/kubeconfig")
        return 0
    binaries.find_or_build()  # in this process, so that its progress goes to the terminal
    log = directory.with_suffix(".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "deploy.local", "run", "--directory", str(directory)]
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=output, start_new_session=True)
    deadline = time.monotonic() + UP_WITHIN
    while "KUBECONFIG" not in log.read_text():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ProcessEnded(f"the control plane did not come up:\n{log.read_text()}")
        time.sleep(0.1)
    print(log.read_text(), end="")
    return 0


def _down(directory: Path) -> int:
    process = _running(directory)
    if process is None:
        print("no control plane runs")
        return 0
    os.kill(process, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_WITHIN
    while _pid_file(directory).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process} did not stop the control plane in {DOWN_WITHIN:.0f} s")
        time.sleep(0.1)
    print("stopped the control plane")
    return 0


def _pid_file(directory: Path) -> Path:
    return directory / "pid"


def _running(directory: Path) -> int | None:
    """The id of the process that runs the control plane of `directory`, or None if there is none."""
    try:
        process = int(_pid_file(directory).read_text())
        os.kill(process, 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return process


def _usage(cluster: Cluster) -> str:
    return f"""\
A control plane runs at {cluster.url}, and knows ModelDownloads. Nothing runs pods there. To use it:

  export KUBECONFIG={cluster.kubeconfig}
  kubectl apply -f deploy/samples/hf.yaml
  kubectl get modeldownloads
"""


if __name__ == "__main__":
    sys.exit(main())
