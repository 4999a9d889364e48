"""Brings the files of a plan into a person's directory, with the engine and the store of the operator.

Called by `fetch`, which imports this module while the hub is asked: engine and store are most of what a fetch imports.
What to fetch is decided before, and what is printed after.
"""

import asyncio
from pathlib import Path

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.store.modes import Modes
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.cli.progress_bar import ProgressBar
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.job import Addresses, Job, Provided
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import Client
from model_provisioner.transfer.store.posix import volume_errors
from model_provisioner.transfer.store.store import Store


async def transfer(
    plan: Plan,
    directory: Path,
    modes: Modes,
    limits: Limits,
    credentials: Credentials | None,
    addresses: Addresses,
    client: Client,
    display: ProgressBar,
    clock: Clock,
) -> Provided:
    """Makes `directory` if it is missing, and shows the progress on `display`. Raises ProvisionError."""
    store = await asyncio.to_thread(_open_store, directory, modes)
    with store, display:
        job = Job(plan, limits, epoch=0, credentials=credentials, addresses=addresses)
        return await engine.provide(job, store.files, client, display, clock)


def _open_store(directory: Path, modes: Modes) -> Store:
    with volume_errors(f"make the directory {directory}"):
        directory.mkdir(parents=True, exist_ok=True)
    return Store.open(directory, None, modes)
