"""The flags of `model-provisioner fetch`, and which mode they select. Called by `model_provisioner.cli`.

`--worker` serves the operator, `--plan FILE` a Job (both in `transfer.worker`); without them one model is fetched for a
person (`fetch`). `--resolver` shows in the list of processes which worker resolves refs, and limits its memory.
"""

import argparse
import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from model_provisioner.domain.network.addresses import (
    HostPort,
    NetworkPolicy,
    Origin,
    parse_allowed_host,
    parse_endpoint,
    parse_network,
)
from model_provisioner.domain.network.proxy import PROXY_NEEDS_HOSTS, parse_no_proxy
from model_provisioner.domain.network.response_time import DEFAULT_RESPONSE_SECONDS, parse_response_timeout
from model_provisioner.domain.quantity import parse_quantity
from model_provisioner.domain.refs.hubs import gets_token_unasked
from model_provisioner.domain.refs.refs import HUGGING_FACE
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.modes import Modes, parse_mode
from model_provisioner.proxy_file import load_proxy
from model_provisioner.transfer.cli import fetch
from model_provisioner.transfer.http.client import NetworkSettings
from model_provisioner.transfer.worker import worker

_MAX_CONNECTIONS = 16
_RESOLVER_BYTES = 320 * 1024**2
"""The most memory of the resolver: 16 listings of 8 MiB at one time, what is read from them, and the interpreter."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", nargs="?", metavar="REF", help="what to fetch, such as hf:owner/repo:Q4_K_M")
    parser.add_argument("--to", type=Path, metavar="DIR", help="directory to fetch into; the file goes below DIR/hf/")
    parser.add_argument(
        "--endpoint",
        type=_checked(parse_endpoint),
        metavar="URL",
        help=f"the hub (default: that of HF_ENDPOINT in the environment, else {HUGGING_FACE})",
    )
    parser.add_argument(
        "--digest",
        type=_checked(Digest.parse),
        metavar="sha256:…",
        help="what the file must hash to, for models in one file",
    )
    parser.add_argument(
        "--projector",
        action="store_true",
        help="also fetch the multimodal projector (mmproj) that fits the model; its path is printed before the model's",
    )
    parser.add_argument(
        "--connections",
        type=_checked(_connections),
        default=8,
        metavar="N",
        help="most connections, 1 to 16 (default 8)",
    )
    parser.add_argument(
        "--max-bytes-per-second", type=_checked(_rate), metavar="N", help="limit of the bandwidth, such as 50Mi"
    )
    parser.add_argument(
        "--retries",
        type=_checked(_retries),
        default=5,
        metavar="N",
        help="how often to try again, in a row without a new byte, what may pass (default %(default)s)",
    )
    parser.add_argument(
        "--timeout",
        type=_checked(parse_response_timeout),
        default=DEFAULT_RESPONSE_SECONDS,
        metavar="SECONDS",
        help="how long the source may take until its answer begins; a caching proxy may need minutes (default 90)",
    )
    parser.add_argument(
        "--allow-network",
        type=_checked(parse_network),
        action="append",
        default=[],
        metavar="CIDR",
        help="private network that the source may be in (repeatable)",
    )
    parser.add_argument(
        "--allow-host",
        type=_checked(parse_allowed_host),
        action="append",
        default=[],
        metavar="HOST[:PORT]",
        help="host, or *.NAME, that may be private or without TLS (repeatable; the endpoint's is allowed)",
    )
    parser.add_argument(
        "--proxy",
        type=_checked(load_proxy),
        metavar="URL|@FILE",
        help="go through this proxy, to hosts that --allow-host names; @FILE holds the URL of one with a password",
    )
    parser.add_argument(
        "--no-proxy",
        type=_checked(parse_no_proxy),
        action="extend",
        default=[],
        metavar="HOST[:PORT]|.NAME|CIDR",
        help="host, names below NAME, or addresses to connect to without the proxy (repeatable; --allow-host as well)",
    )
    parser.add_argument(
        "--directory-mode",
        type=_checked(parse_mode),
        default=0o755,
        metavar="MODE",
        help="of directories (default 0755)",
    )
    parser.add_argument(
        "--file-mode", type=_checked(parse_mode), default=0o444, metavar="MODE", help="of models (default 0444)"
    )
    parser.add_argument("--group", type=int, metavar="GID", help="that models and directories belong to")
    parser.add_argument(
        "--ca-file", type=_checked(_ca_file), metavar="FILE", help="certificates to trust besides the system's"
    )
    parser.add_argument(
        "--send-token",
        action="store_true",
        help="send HF_TOKEN to --endpoint, also without TLS; else only the public hub gets it, and that of HF_ENDPOINT",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be fetched, and where to")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.add_argument("--plan", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--resolver", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """The exit code: 0, 1 after an error, 2 for wrong flags, 130 after Ctrl-C.

    After an error, the last line on standard error has its name and message.
    """
    if args.proxy and not args.allow_host:
        args.usage_error(f"--proxy: {PROXY_NEEDS_HOSTS}")
    if args.worker:
        return worker.run(_network(args, args.endpoint), _RESOLVER_BYTES if args.resolver else None)
    if args.plan is not None:
        return worker.run_plan(args.plan, _network(args, args.endpoint))
    if args.ref is None or args.to is None:
        args.usage_error("say what to fetch and where to: REF --to DIR")
    endpoint = _endpoint(args)
    token = _from_environment("HF_TOKEN") or None
    send = args.send_token or gets_token_unasked(endpoint, _hub_of_environment(), direct=args.proxy is None)
    return fetch.run(
        fetch.FetchOptions(
            ref=args.ref,
            directory=args.to,
            endpoint=endpoint,
            digest=args.digest,
            connections=args.connections,
            bytes_per_second=args.max_bytes_per_second,
            token=token if send else None,
            token_withheld=token is not None and not send,
            retries=args.retries,
            modes=Modes(args.directory_mode, args.file_mode, args.group),
            dry_run=args.dry_run,
            json=args.json,
            projector=args.projector,
        ),
        _network(args, endpoint),
    )


def _network(args: argparse.Namespace, endpoint: str | None) -> NetworkSettings:
    """The host of an endpoint that is named explicitly is allowed."""
    hosts = list(args.allow_host)
    if endpoint is not None and endpoint != HUGGING_FACE:
        origin = Origin.of(endpoint)
        hosts.append(HostPort(origin.host, origin.port))
    proxy = replace(args.proxy, no_proxy=tuple(args.no_proxy)) if args.proxy else None
    policy = NetworkPolicy(tuple(args.allow_network), tuple(hosts))
    return NetworkSettings(policy, args.ca_file, proxy, args.timeout)


def _endpoint(args: argparse.Namespace) -> str:
    """The hub that a person fetches from: the flag goes before HF_ENDPOINT, and that before the public hub."""
    given: str | None = args.endpoint
    usage_error: Callable[[str], NoReturn] = args.usage_error
    try:
        return given or parse_endpoint(_from_environment("HF_ENDPOINT") or HUGGING_FACE)
    except ValueError as error:
        usage_error(f"HF_ENDPOINT: {error}")


def _hub_of_environment() -> str | None:
    """None without a usable HF_ENDPOINT, which is no error if a flag names the hub."""
    try:
        return parse_endpoint(_from_environment("HF_ENDPOINT"))
    except ValueError:
        return None


def _from_environment(name: str) -> str:
    """The variable without white space around it: one that was read from a file often ends in a line break."""
    return os.environ.get(name, "").strip()


def _ca_file(text: str) -> Path:
    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:
        raise ValueError(f"{text!r} is not a file of certificates in PEM format: {error.strerror or error}") from None
    return Path(text)


def _connections(text: str) -> int:
    number = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= number <= _MAX_CONNECTIONS:
        raise ValueError(f"{text!r} is not a number from 1 to {_MAX_CONNECTIONS}")
    return number


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f"{text!r} is not a number of retries: 0 or more")
    return int(text)


def _rate(text: str) -> int:
    rate = parse_quantity(text)
    if rate < 1:
        raise ValueError("at least one byte per second is needed; leave the flag out for no limit")
    return rate


def _checked(parse: Callable[[str], object]) -> Callable[[str], object]:
    """`parse` with ArgumentTypeError instead of ValueError: only of the former does argparse show the message."""

    def convert(text: str) -> object:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert
