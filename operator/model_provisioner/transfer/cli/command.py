"""The flags of `model-provisioner fetch`, and which mode they select. Called by `model_provisioner.cli`.

`--worker-server` forks the workers of the operator, `--worker` is one worker, `--plan FILE` serves a Job (all in
`transfer.worker`); without them one model is fetched for a person (`fetch`). `--resolver` shows in the list of
processes that a worker resolves refs, and limits its memory. `--ambient-credentials` lets it use the pod's own key.
"""

import argparse
import os
import ssl
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from model_provisioner import imports
from model_provisioner.domain.credentials.ambient import Provider, provider_of
from model_provisioner.domain.credentials.secret_keys import AWS_KEYS
from model_provisioner.domain.network.addresses import (
    HostPort,
    NetworkPolicy,
    Origin,
    parse_allowed_host,
    parse_endpoint,
    parse_network,
)
from model_provisioner.domain.network.endpoints import parse_named_endpoint
from model_provisioner.domain.network.proxy import PROXY_NEEDS_HOSTS, parse_no_proxy
from model_provisioner.domain.network.response_time import DEFAULT_RESPONSE_SECONDS, parse_response_timeout
from model_provisioner.domain.quantity import parse_quantity
from model_provisioner.domain.refs.hugging_face import HUGGING_FACE
from model_provisioner.domain.refs.refs import ENDPOINTS
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.modes import Modes, parse_mode
from model_provisioner.proxy_file import load_proxy
from model_provisioner.transfer.cli import credentials
from model_provisioner.transfer.cli.tokens import tokens_of
from model_provisioner.transfer.http.client import NetworkSettings

_MAX_CONNECTIONS = 16
_RESOLVER_BYTES = 320 * 1024**2
"""The most memory of the resolver: 16 listings of 8 MiB at one time, what is read from them, and the interpreter."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ref", nargs="?", metavar="REF", help="what to fetch, such as hf:owner/repo:Q4_K_M")
    parser.add_argument("--to", type=Path, metavar="DIR", help="directory to fetch into; the file goes below DIR/hf/")
    parser.add_argument(
        "--endpoint",
        type=_checked(lambda text: parse_named_endpoint(text, ENDPOINTS)),
        action="append",
        default=[],
        metavar="SCHEME=URL",
        help=f"where models of a source are asked for: {', '.join(ENDPOINTS)} (repeatable; a bare URL means hf, whose "
        f"default is HF_ENDPOINT in the environment, else {HUGGING_FACE})",
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
        "--credentials-file",
        type=_checked(credentials.load),
        metavar="FILE",
        help="KEY=VALUE lines with the keys of a Secret for the source, such as username and password; for the source "
        "itself, or for the hosts in the key `hosts`",
    )
    parser.add_argument(
        "--send-token",
        action="store_true",
        help="send HF_TOKEN or MODELSCOPE_API_TOKEN to the --endpoint of its source, also without TLS; else only the "
        "public hub gets it, and that of HF_ENDPOINT",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell what would be fetched, and where to")
    parser.add_argument("--json", action="store_true", help="print one JSON document at the end")
    parser.add_argument("--ambient-credentials", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--plan", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--resolver", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--worker-server", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(usage_error=parser.error)


def run(args: argparse.Namespace) -> int:
    """The exit code: 0, 1 after an error, 2 for wrong flags, 130 after Ctrl-C.

    After an error, the last line on standard error has its name and message.
    """
    if args.proxy and not args.allow_host:
        args.usage_error(f"--proxy: {PROXY_NEEDS_HOSTS}")
    if args.worker or args.worker_server or args.plan is not None:
        return _run_worker(args)
    if args.ref is None or args.to is None:
        args.usage_error("say what to fetch and where to: REF --to DIR")
    return _fetch(args)


def _run_worker(args: argparse.Namespace) -> int:
    with imports.lasting():
        from model_provisioner.transfer.worker import (  # noqa: PLC0415 - a person who fetches would wait for them
            worker,
            worker_server,
        )

    network, provider = _network(args, dict(args.endpoint)), _provider() if args.ambient_credentials else None
    if args.worker_server:
        return worker_server.run(network, _RESOLVER_BYTES, provider)
    if args.worker:
        return worker.run(network, _RESOLVER_BYTES if args.resolver else None, provider)
    return worker.run_plan(args.plan, network, provider)


def _fetch(args: argparse.Namespace) -> int:
    with imports.lasting():
        from model_provisioner.transfer.cli import fetch  # noqa: PLC0415 - a worker would wait for it

    endpoints = _endpoints(args)
    tokens = tokens_of(
        _from_environment, endpoints, _hub_of_environment(), send=args.send_token, direct=args.proxy is None
    )
    aws = _aws_of_environment()
    return fetch.run(
        fetch.FetchOptions(
            ref=args.ref,
            directory=args.to,
            endpoints=endpoints,
            digest=args.digest,
            connections=args.connections,
            bytes_per_second=args.max_bytes_per_second,
            secret=args.credentials_file,
            tokens=tokens,
            aws=aws,
            environment=_from_environment,
            direct=args.proxy is None,
            provider=_provider() if args.ref.startswith("s3:") and not aws else None,
            retries=args.retries,
            modes=Modes(args.directory_mode, args.file_mode, args.group),
            dry_run=args.dry_run,
            json=args.json,
            projector=args.projector,
        ),
        _network(args, endpoints),
    )


def _network(args: argparse.Namespace, endpoints: Mapping[str, str]) -> NetworkSettings:
    """The host of an endpoint that is named explicitly is allowed."""
    hosts = list(args.allow_host)
    origins = (Origin.of(url) for scheme, url in endpoints.items() if url != ENDPOINTS[scheme])
    hosts += [HostPort(origin.host, origin.port) for origin in origins]
    proxy = replace(args.proxy, no_proxy=tuple(args.no_proxy)) if args.proxy else None
    policy = NetworkPolicy(tuple(args.allow_network), tuple(hosts))
    return NetworkSettings(policy, args.ca_file, proxy, args.timeout)


def _endpoints(args: argparse.Namespace) -> dict[str, str]:
    """What a person fetches from: the flags go before HF_ENDPOINT, and that before the public hub."""
    given = dict(args.endpoint)
    usage_error: Callable[[str], NoReturn] = args.usage_error
    try:
        hub = given.get("hf") or parse_endpoint(_from_environment("HF_ENDPOINT") or HUGGING_FACE)
    except ValueError as error:
        usage_error(f"HF_ENDPOINT: {error}")
    return {**ENDPOINTS, **given, "hf": hub}


def _aws_of_environment() -> credentials.Secret:
    """The access key in the variables that all programs for S3 know, under the keys that it has in a Secret."""
    return {name: value.encode() for name in AWS_KEYS if (value := _from_environment(name))}


def _provider() -> Provider | None:
    """What gives this pod an access key of its own. Variables that can't be used are told, and are as if not set."""
    try:
        return provider_of(os.environ)
    except ValueError as error:
        sys.stderr.write(f"there is no access key of this pod: {error}\n")
        return None


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
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=text)
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
