"""The entry point of `model-provisioner`: starts the part of the program that the subcommand names.

Only the module of that subcommand is imported, so a process that transfers bytes does not load the libraries of the
operator. The flags of a subcommand belong to its module, which has `add_arguments` and `run`.
"""

import argparse
import importlib
import os
import resource
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn, Protocol, cast

from model_provisioner import __version__, imports


class _Command(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace) -> int: ...


class _Subcommand(NamedTuple):  # the import of dataclasses takes 1.5 MiB, which `wait` does without
    name: str
    module: str
    help: str


_SUBCOMMANDS = (
    _Subcommand("fetch", "model_provisioner.transfer.cli.command", "fetch a model into a directory, without a cluster"),
    _Subcommand(
        "prune",
        "model_provisioner.transfer.cli.prune",
        "list the files of a store that no object holds, or delete them",
    ),
    _Subcommand("operator", "model_provisioner.controller.command", "provide models to the volumes of a cluster"),
    _Subcommand(
        "worker", "model_provisioner.worker_pod.command", "the process of a worker pod, which an operator starts"
    ),
    _Subcommand("release", "model_provisioner.controller.release.command", "let go of all objects before an uninstall"),
    _Subcommand(
        "definition", "model_provisioner.controller.definition.command", "update the resource's definition in a cluster"
    ),
    _Subcommand("wait", "model_provisioner.wait.command", "wait until a model is on a mounted volume"),
    _Subcommand("check", "model_provisioner.check.command", "ask a gateway or an operator whether it works"),
    _Subcommand("gateway", "model_provisioner.gateway.command", "serve the HTTP API, event stream and web page"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code. For a wrong flag, argparse exits with 2."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="model-provisioner", description="Verified GGUF models on volumes.")
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
    command = None
    for known in _SUBCOMMANDS:
        subparser = subparsers.add_parser(known.name, help=known.help, description=f"{known.help.capitalize()}.")
        if arguments and arguments[0] == known.name:
            with imports.lasting():
                command = cast("_Command", importlib.import_module(known.module))
            command.add_arguments(subparser)
    parsed = parser.parse_args(arguments)
    del parsed.subcommand
    # A core dump has the tokens that are in memory. Workers inherit the limit.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return command.run(parsed) if command else 2


def run() -> NoReturn:
    """Runs `main` as the whole program, and ends the process without freeing its objects one by one.

    That would take a person who fetches a small model a tenth of the time. `main` has closed what has to be closed.
    """
    code = main()
    try:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:  # a worker closes its pipe
                stream.flush()
    except OSError:
        raise SystemExit(code) from None  # the usual exit tells that output is lost
    os._exit(code)


if __name__ == "__main__":
    run()
