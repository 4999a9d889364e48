"""`model-provisioner operator`: its flags. Called by `cli`; what runs is `controller.app`."""

import argparse
import asyncio
import contextlib
import logging
import signal

from pydantic import ValidationError

from model_provisioner.controller.app import run_operator
from model_provisioner.proxy_file import load_proxy
from model_provisioner.settings import OperatorSettings, explain, refuse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Every flag may also be set as MODEL_PROVISIONER_<FLAG>; lists are then separated by commas."""
    parser.add_argument(
        "--watch-namespace",
        action="append",
        metavar="NS",
        help="namespace to serve (repeatable; default: the stores' own)",
    )
    parser.add_argument(
        "--store",
        action="append",
        metavar="NAMESPACE/CLAIM=DIR",
        help="a claim and where it is mounted (repeatable; the first is its namespace's default)",
    )
    parser.add_argument("--slots", type=int, metavar="N", help="downloads at one time (default 4)")
    parser.add_argument(
        "--max-bytes-per-second",
        metavar="QUANTITY",
        help="the most that all downloads together may take in a second, such as 100Mi (default: no limit)",
    )
    parser.add_argument("--endpoint", metavar="URL", help="the hub (default https://huggingface.co)")
    parser.add_argument(
        "--allow-network", action="append", metavar="CIDR", help="private network that sources may be in (repeatable)"
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        metavar="HOST[:PORT]",
        help="host, or *.NAME, that sources may be on although it is private, over http too (repeatable)",
    )
    parser.add_argument(
        "--ca-file", metavar="FILE", help="certificates to trust for sources, in addition to the system's"
    )
    parser.add_argument(
        "--proxy",
        metavar="URL|@FILE",
        help="go to sources through this proxy; needs --allow-host. @FILE holds the URL of one with a password",
    )
    parser.add_argument("--directory-mode", metavar="MODE", help="of directories on the volume (default 0755)")
    parser.add_argument("--file-mode", metavar="MODE", help="of models on the volume (default 0444)")
    parser.add_argument("--group", type=int, metavar="GID", help="that models and directories belong to")
    parser.add_argument(
        "--lease-namespace",
        metavar="NS",
        help="where the Lease is (default: this pod's namespace, else the first store's)",
    )
    parser.add_argument("--health-listen", metavar="HOST:PORT", help="serve /healthz and /readyz there")
    parser.add_argument("--metrics-listen", metavar="HOST:PORT", help="serve /metrics there, for Prometheus")
    parser.add_argument("--kubeconfig", metavar="FILE", help="default: the pod's service account, else KUBECONFIG")


def run(args: argparse.Namespace) -> int:
    """Exit code 0 after a signal, 1 without the API server, 2: wrong settings, 3: the Lease is lost, 4: a bug."""
    given = {key: value for key, value in vars(args).items() if value is not None}
    try:
        settings = OperatorSettings(**given)
        _check_proxy(settings)
    except ValidationError as error:
        return refuse("operator", explain(error, vars(args)))
    except ValueError as error:
        return refuse("operator", f"--proxy: {error}")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    with contextlib.suppress(asyncio.CancelledError):
        return asyncio.run(_run(settings))
    return 0


async def _run(settings: OperatorSettings) -> int:
    """kopf takes the signals once it runs. Until then, as while another holds the Lease, nobody would: process 1 of
    a container does not even end by default.
    """
    task = asyncio.current_task()
    if task:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run_operator(settings)


def _check_proxy(settings: OperatorSettings) -> None:
    """The workers read it; a wrong one is told here, before anything starts. Raises ValueError."""
    if settings.proxy is not None:
        load_proxy(settings.proxy)
