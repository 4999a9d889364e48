"""`model-provisioner gateway`: its flags. Called by `cli`; what runs is `gateway.app`."""

import argparse
import asyncio
import logging

from pydantic import ValidationError

from model_provisioner.gateway.app import run_gateway
from model_provisioner.settings import GatewaySettings, explain, refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag may also be set as MODEL_PROVISIONER_<FLAG>; lists are then separated by commas."""
    parser.add_argument("--listen", metavar="HOST:PORT", help="where to listen (default 127.0.0.1:8081)")
    parser.add_argument(
        "--watch-namespace", action="append", metavar="NS", help="namespace to show (repeatable; default: all)"
    )
    parser.add_argument(
        "--default-namespace", metavar="NS", help="where downloads go that name no namespace (default: the pod's own)"
    )
    parser.add_argument(
        "--auth",
        choices=["token", "none"],
        help="token: callers send a Kubernetes token (default); none: everybody may read, nobody write",
    )
    parser.add_argument(
        "--anonymous-writes",
        action="store_const",
        const=True,
        help="with --auth none: let everybody start and delete downloads too, with the gateway's own rights",
    )
    parser.add_argument("--base-path", metavar="/PATH", help="serve everything but the probes below this path")
    parser.add_argument(
        "--cors-origin", action="append", metavar="ORIGIN", help="web page that may call from elsewhere (repeatable)"
    )
    parser.add_argument("--tls-cert", metavar="FILE", help="serve HTTPS with this certificate chain (PEM)")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key (PEM)")
    parser.add_argument("--max-streams", metavar="N", help="most event streams in all (default 2500)")
    parser.add_argument(
        "--max-streams-per-identity", metavar="N", help="most event streams of one account (default 250)"
    )
    parser.add_argument(
        "--lease-namespace",
        metavar="NS",
        help="where the operator's Lease is (default: this pod's namespace, else the default namespace)",
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's service account, else KUBECONFIG")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 after a signal, 2 for wrong settings, 4 for a bug that ended a part of the gateway."""
    given = {key: value for key, value in vars(args).items() if value is not None}
    try:
        settings = GatewaySettings(**given)
    except ValidationError as error:
        return refuse("gateway", explain(error, vars(args)))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    return asyncio.run(run_gateway(settings))
