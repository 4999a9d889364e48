"""`model-provisioner fetch REF --to DIR`: fetches one model for a person, without a cluster.

Resolves the ref, shows progress, tries again after temporary errors and prints the path last. Engine and store layout
are the operator's, but no holder record is written. Called by `command`, which parses the flags.
"""

import asyncio
import json
import math
import signal
import sys
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.errors import (
    AccessDenied,
    NameResolutionFailed,
    ProvisionError,
    RateLimited,
    SourceUnavailable,
    TransferStalled,
)
from model_provisioner.domain.gguf.warnings import unknown_types_warning
from model_provisioner.domain.lifecycle.backoff import delay
from model_provisioner.domain.modeldownload import FileRecord, GGUFSummary
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.quantity import format_bytes, format_duration
from model_provisioner.domain.refs.refs import HUGGING_FACE, parse_lenient
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.modes import Modes
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.cli.progress_bar import ProgressBar
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.throttle import Limits
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.transfer.store.posix import volume_errors
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol.messages import Resolve

_RETRYABLE = (SourceUnavailable, RateLimited, TransferStalled, NameResolutionFailed)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """The values of the flags, and the token from the environment, if the hub may have it.

    `token_withheld`: there is a token, and the hub does not get it. `bytes_per_second` None means no limit. `retries`
    is how often in a row, without a new byte, the fetch tries again after a temporary error.
    """

    ref: str
    directory: Path
    endpoint: str
    digest: Digest | None
    connections: int
    bytes_per_second: int | None
    token: str | None = field(repr=False)
    token_withheld: bool
    retries: int
    modes: Modes
    dry_run: bool
    json: bool
    projector: bool = False

    @property
    def credentials(self) -> Credentials | None:
        """The token, for the origin of the endpoint only."""
        return Credentials(self.token, (str(Origin.of(self.endpoint)),)) if self.token else None


def run(options: FetchOptions, network: NetworkSettings) -> int:
    """Runs the command and returns its exit code: 0, 1 after an error, 128 plus the number of a signal that stopped it.

    The last line on standard output is the path of the model; with `projector`, the line before it is that of the
    projector. After an error, the last line on standard error has its name and
    message.
    """
    if options.token_withheld and not options.ref.startswith("local:"):
        _print_error(_withheld_note(options))
    received: list[signal.Signals] = []
    try:
        asyncio.run(_run_until_signal(_fetch_with_retries(options, network, Clock()), received))
    except ProvisionError as error:
        if options.json:
            _print(json.dumps({"ref": options.ref, "error": error.reason, "message": _message(options, error)}))
        _print_error(f"{error.reason}: {_message(options, error)}")
        return 1
    except asyncio.CancelledError:
        _print_error("stopped; what was fetched is kept, and the same command goes on from there")
        return 128 + received[0]
    return 0


async def _run_until_signal(work: Coroutine[None, None, None], received: list[signal.Signals]) -> None:
    """Runs `work`, and cancels it on SIGINT or SIGTERM; the signal is appended to `received`."""
    # Handlers of the loop, because a handler of the interpreter does not wake a loop that has just gone to sleep.
    task = asyncio.ensure_future(work)

    def stop(number: signal.Signals) -> None:
        received.append(number)
        task.cancel()

    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop, number)
    await task


async def _fetch_with_retries(options: FetchOptions, network: NetworkSettings, clock: Clock) -> None:
    """Tries again after temporary errors, at most `options.retries` times in a row without a new byte."""
    display = ProgressBar(sys.stderr, clock.monotonic)
    failures, max_done = 0, 0
    while True:
        try:
            return await _fetch(options, network, display, clock)
        except _RETRYABLE as error:
            failures = 1 if display.max_done > max_done else failures + 1
            max_done = display.max_done
            if failures > options.retries:
                raise
            wait = delay(failures, error.retry_after, clock.random())
            again = f"trying again in {format_duration(math.ceil(wait))}"
            _print_error(f"{error.reason}: {_message(options, error)}; {again} ({failures} of {options.retries})")
            await clock.sleep(wait)


async def _fetch(options: FetchOptions, network: NetworkSettings, display: ProgressBar, clock: Clock) -> None:
    async with open_client(network) as client:
        plan = await _resolve(options, client)
        if options.dry_run:
            _print_plan(options, plan)
            return
        provided = await _transfer(options, plan, client, display, clock)
    if warning := unknown_types_warning(provided.gguf):
        _print_error(warning)
    if options.json:
        _print(json.dumps(_document(options, plan, provided.files, {"gguf": _gguf_document(provided.gguf)}), indent=2))
    else:
        _print_paths(options, plan)


async def _resolve(options: FetchOptions, client: Client) -> Plan:
    ref = parse_lenient(options.ref)
    request = Resolve(
        "resolve",
        str(ref),
        options.endpoint,
        digest=str(options.digest) if options.digest else None,
        credentials=options.credentials,
        store=StoreRef(str(options.directory), None),
        projector=options.projector,
    )
    return (await Resolver(client).resolve(request)).plan


async def _transfer(
    options: FetchOptions, plan: Plan, client: Client, display: ProgressBar, clock: Clock
) -> engine.Provided:
    _make_directory(options.directory)
    store = await asyncio.to_thread(Store.open, options.directory, None, options.modes)
    with store, display:
        job = engine.Job(
            plan, Limits(options.connections, options.bytes_per_second), epoch=0, credentials=options.credentials
        )
        return await engine.provide(job, store.files, client, display, clock)


def _make_directory(directory: Path) -> None:
    with volume_errors(f"make the directory {directory}"):
        directory.mkdir(parents=True, exist_ok=True)


def _print_plan(options: FetchOptions, plan: Plan) -> None:
    files = plan.records
    if options.json:
        _print(json.dumps(_document(options, plan, files, {}), indent=2))
        return
    at = f" at {plan.revision}" if plan.revision else ""
    _print(f"{plan.ref}{at}: {len(files)} file{'s' * (len(files) > 1)}, {format_bytes(plan.total_bytes)}")
    for file in files:
        _print(f"  {file.path}  {format_bytes(file.size_bytes)}  {file.digest or 'no digest published'}")
    _print_paths(options, plan)


def _print_paths(options: FetchOptions, plan: Plan) -> None:
    for file in filter(None, (plan.projector, plan.files[0])):
        _print(str(options.directory / file.path))


def _document(
    options: FetchOptions, plan: Plan, files: tuple[FileRecord, ...], more: Mapping[str, object]
) -> dict[str, object]:
    """The document that `--json` prints; `more` has additional fields."""
    return {
        "ref": plan.ref,
        "revision": plan.revision,
        "path": str(options.directory / files[0].path),
        "sizeBytes": plan.total_bytes,
        **({"projector": str(options.directory / plan.projector.path)} if plan.projector else {}),
        "files": [{"path": f.path, "sizeBytes": f.size_bytes, "digest": f.digest} for f in files],
        **more,
    }


def _gguf_document(gguf: GGUFSummary) -> dict[str, object]:
    """The fields have the names of the resource's status."""
    return {
        "architecture": gguf.architecture,
        "name": gguf.name,
        "parameters": gguf.parameters,
        "quantization": gguf.quantization,
        "contextLength": gguf.context_length,
        "license": gguf.license,
        "chatTemplate": gguf.chat_template,
        "unknownTensorTypes": gguf.unknown_tensor_types,
    }


def _message(options: FetchOptions, error: ProvisionError) -> str:
    """The message of an error, with advice that applies only to the command line."""
    if options.token_withheld and (error.wants_token or isinstance(error, AccessDenied)):
        origin = Origin.of(options.endpoint)
        return f"{error.message} (HF_TOKEN was not sent to {origin}: --send-token sends it there)"
    return error.message + (" (in the environment as HF_TOKEN)" if error.wants_token else "")


def _withheld_note(options: FetchOptions) -> str:
    return (
        f"HF_TOKEN is not sent to {Origin.of(options.endpoint)}: only {HUGGING_FACE} gets it, and the hub of "
        "HF_ENDPOINT over TLS; --send-token sends it there"
    )


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _print_error(text: str) -> None:
    sys.stderr.write(f"{text}\n")
