"""`model-provisioner wait`: the flags, and what is waited for. Called by `cli` in an init container.

It needs no token, writes nothing, and imports no library: a node runs one for each pod that waits.
"""

import argparse
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import NoReturn

from model_provisioner.domain.model_files.part_names import parts_of
from model_provisioner.domain.quantity import parse_duration
from model_provisioner.wait.catalog import look_up
from model_provisioner.wait.named_file import named_file
from model_provisioner.wait.sight import ExitCode, Sight
from model_provisioner.wait.volume import checked_path, look
from model_provisioner.wait.waiting import Clock, wait

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,61}[a-z0-9])?")
"""The name of a ModelDownload (DNS subdomain of at most 63 characters), which is the name of a file here."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--name", metavar="NAME", help="the ModelDownload, whose files the mounted catalog says")
    what.add_argument(
        "--path", metavar="PATH", help="the file, below the volume or with its mount; all parts if it is one of several"
    )
    what.add_argument("--ref", metavar="REF", help="the model ref, if it names a file: hf:owner/repo:file.gguf")
    parser.add_argument(
        "--models", default="/models", metavar="DIR", help="where the volume is mounted (default /models)"
    )
    parser.add_argument(
        "--catalog",
        default="/catalog",
        metavar="DIR",
        help="where the ConfigMap model-catalog is mounted, for --name (default /catalog)",
    )
    parser.add_argument(
        "--endpoint", metavar="URL", help="for the --ref of an object in a bucket: the server (default Amazon S3)"
    )
    parser.add_argument("--timeout", metavar="DURATION", help="how long to wait, such as 90s or 1h (default: no limit)")


def run(args: argparse.Namespace) -> int:
    """Returns the exit code, which `sight.ExitCode` lists."""
    signal.signal(signal.SIGTERM, _end)  # the kernel does not end process 1 without a handler
    try:
        timeout = None if args.timeout is None else parse_duration(args.timeout)
        looks = _looks(args, args.models.rstrip("/") or "/")
    except ValueError as error:
        sys.stderr.write(f"model-provisioner wait: {error}\n")
        return ExitCode.WRONG_USAGE
    return wait(looks, timeout, Clock(time.monotonic, _wall, time.sleep), _say)


def _looks(args: argparse.Namespace, models: str) -> Callable[[], Sight]:
    """Raises ValueError with a message for users."""
    if args.endpoint is not None and not (args.ref or "").startswith("s3:"):
        raise ValueError("--endpoint is for the --ref of an object in a bucket: use --name for other endpoints")
    if args.name is None:
        path = named_file(args.ref, args.endpoint) if args.path is None else args.path.removeprefix(f"{models}/")
        return partial(look, models, parts_of(checked_path(path)))
    if not _NAME.fullmatch(args.name):
        raise ValueError(f"--name: {args.name[:80]!r} is not the name of a ModelDownload")
    return partial(look_up, args.catalog, args.name, models)


def _wall() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(ExitCode.TERMINATED)
