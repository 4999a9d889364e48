"""`python -m deploy.e2e`: runs all steps against the cluster of KUBECONFIG, and cleans up whatever happens.

The exit code is 0 if all steps succeeded, 1 if one failed, 2 if the settings can't be used. Called by `make e2e`.
"""

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from deploy.e2e import settings
from deploy.e2e.commands import Failed
from deploy.e2e.mounted import steps as mounted
from deploy.e2e.report import Step, run_steps
from deploy.e2e.scene import Scene, address_towards_the_node, attempt, is_defined, remove_definition
from deploy.e2e.worker_pods import steps as worker_pods
from deploy.local import gobuild, helm
from tests.support.hub import Hub


def main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    argparse.ArgumentParser("python -m deploy.e2e", description=settings.USAGE, formatter_class=raw).parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.default_int_handler)  # so that the clean-up below runs
    try:
        given = settings.read()
        program = helm.find_or_build()
        address = given.hub_address or address_towards_the_node()
        defined_before = is_defined()
    except (settings.Unusable, gobuild.BuildFailed, Failed) as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="e2e-") as directory, Hub(host=address, names=()) as hub:
        first = Scene(given, program, hub, Path(directory))
        second = Scene(given, program, hub, Path(directory), teams="ab")
        print(
            f"namespaces {first.namespace} and {second.namespace}, hub {hub.endpoint}, image {given.image}", flush=True
        )
        return _run([*mounted.steps(first), *worker_pods.steps(second)], [first, second], defined_before)


def _run(steps: list[Step], scenes: list[Scene], defined_before: bool) -> int:
    try:
        namespaces = [one.kubectl for scene in scenes for one in scene.namespaces]
        return 0 if run_steps(steps, *namespaces) else 1
    except KeyboardInterrupt:
        return 130
    finally:
        for scene in scenes:
            scene.clean_up()
        if not defined_before:
            attempt(remove_definition)


if __name__ == "__main__":
    raise SystemExit(main())
