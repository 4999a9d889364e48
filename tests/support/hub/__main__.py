"""Runs the hub as a process: `python -m tests.support.hub --directory DIR` serves DIR/<owner>/<repository>/<files>.

Prints one JSON line with its addresses when it listens, and ends on SIGTERM or SIGINT.
"""

import argparse
import json
import shutil
import signal
from pathlib import Path

from tests.support.hub.server import Hub


def main() -> None:
    options = _parser().parse_args()
    # Blocked before any thread exists, so that all threads inherit it and `sigwait` below gets the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    host, _, port = options.listen.rpartition(":")
    with Hub(tls=not options.plain, host=host.strip("[]"), port=int(port), names=("localhost", *options.name)) as hub:
        hub.bytes_per_second(options.bytes_per_second)
        hub.bytes_per_connection(options.bytes_per_connection)
        _fill(hub, options.directory)
        if options.ca_out and not options.plain:
            shutil.copyfile(hub.ca_file, options.ca_out)
        ca_file = None if options.plain else str(options.ca_out or hub.ca_file)
        addresses = {"endpoint": hub.endpoint, "contentOrigin": hub.content_origin, "caFile": ca_file}
        print(json.dumps(addresses), flush=True)  # noqa: T201 - the program's answer
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.support.hub", description="A Hugging Face hub for tests.")
    parser.add_argument("--directory", type=Path, required=True, help="holds <owner>/<repository>/<files>")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--name", action="append", default=[], help="a further name in the certificate")
    parser.add_argument("--plain", action="store_true", help="http instead of https")
    parser.add_argument("--ca-out", type=Path, metavar="FILE", help="also write the CA's certificate here")
    parser.add_argument("--bytes-per-second", type=int, metavar="N", help="limit all bodies together")
    parser.add_argument("--bytes-per-connection", type=int, metavar="N", help="limit each connection")
    return parser


def _fill(hub: Hub, directory: Path) -> None:
    for root in sorted(directory.glob("*/*/")):
        repository = hub.repository(f"{root.parent.name}/{root.name}")
        for file in sorted(root.rglob("*")):
            if file.is_file():
                repository.add(file.relative_to(root).as_posix(), file)


main()
