"""`python -m tests.support.slow_disk operator ...`: our program with workers that read published files slowly."""

import os
import sys
import time
from types import SimpleNamespace

from model_provisioner import cli
from model_provisioner.transfer.download.content import hashing
from tests.support.own_workers import start_workers_as

_SECONDS = 0.5  # per call, which reads 1 MiB


def _pread(fd: int, count: int, offset: int) -> bytes:
    time.sleep(_SECONDS)
    return os.pread(fd, count, offset)


if __name__ == "__main__":
    if sys.argv[1] == "operator":
        start_workers_as("tests.support.slow_disk")
    else:
        vars(hashing)["os"] = SimpleNamespace(pread=_pread)
    raise SystemExit(cli.main())
