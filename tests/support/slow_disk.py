"""`python -m tests.support.slow_disk operator ...`: our program, whose workers read published files slowly."""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

from model_provisioner import cli
from model_provisioner.settings import OperatorSettings
from model_provisioner.transfer import hashing

_SECONDS = 0.5  # of one call, which asks for 1 MiB


def _pread(fd: int, count: int, offset: int) -> bytes:
    time.sleep(_SECONDS)
    return os.pread(fd, count, offset)


def _worker_command(settings: OperatorSettings, original: Callable[[OperatorSettings], list[str]]) -> list[str]:
    return [word.replace("model_provisioner.cli", "tests.support.slow_disk") for word in original(settings)]


if __name__ == "__main__":
    if sys.argv[1] == "operator":
        from model_provisioner.controller import app  # the workers can spare it

        app._worker_command = partial(_worker_command, original=app._worker_command)
    else:
        vars(hashing)["os"] = SimpleNamespace(pread=_pread)
    raise SystemExit(cli.main())
