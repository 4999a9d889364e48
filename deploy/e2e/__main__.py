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
from deploy.e2e.report import run_steps
from deploy.e2e.scene import Scene, address_towards_the_node
from deploy.e2e.steps import steps
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
    except (settings.Unusable, gobuild.BuildFailed, Failed) as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="e2e-") as directory, Hub(host=address, names=()) as hub:
        scene = Scene(given, program, hub, Path(directory))
        print(f"namespace {scene.namespace}, hub {hub.endpoint}, image {given.image}", flush=True)
        try:
            return 0 if run_steps(steps(scene), scene.kubectl) else 1
        except KeyboardInterrupt:
            return 130
        finally:
            scene.clean_up()


if __name__ == "__main__":
    raise SystemExit(main())
