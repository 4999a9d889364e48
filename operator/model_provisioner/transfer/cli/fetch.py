"""`model-provisioner fetch REF --to DIR`: fetches one model for a person, without a cluster.

Resolves the ref, shows progress, tries again after temporary errors and prints the path last. Engine and store layout
are the operator's (`transfer`), but no holder record is written. Called by `command`, which parses the flags.
"""

import asyncio
import math
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from model_provisioner import imports
from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.ambient import Provider
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.credentials.secret_keys import AWS
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
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.quantity import format_bytes, format_duration
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.oci import OciRef
from model_provisioner.domain.refs.refs import parse, parse_lenient
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.modes import Modes
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.cli.credentials import Secret, credentials_of
from model_provisioner.transfer.cli.progress_bar import ProgressBar
from model_provisioner.transfer.cli.tokens import Token
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver, addresses_of
from model_provisioner.worker_protocol.messages import Resolve

if TYPE_CHECKING:
    from model_provisioner.transfer.download.job import Provided

_RETRYABLE = (SourceUnavailable, RateLimited, TransferStalled, NameResolutionFailed)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class FetchOptions:
    """The values of the flags, and the tokens from the environment.

    `secret` is what the credentials file has. `tokens` are those of each source, by its scheme, `aws` is the access key
    of the environment, `provider` gives this pod one of its own. `environment` returns a variable, "" if it is not set.
    `registry` is the login that was found for an artifact. `direct`: without a proxy. `bytes_per_second` None means no
    limit. `retries` is how often in a row, without a new byte, the fetch tries again after a temporary error.
    """

    ref: str
    directory: Path
    endpoints: Mapping[str, str]
    digest: Digest | None
    connections: int
    bytes_per_second: int | None
    secret: Secret | None = field(repr=False)
    tokens: Mapping[str, Token]
    aws: Secret = field(repr=False)
    environment: Callable[[str], str] = field(repr=False)
    direct: bool
    provider: Provider | None
    retries: int
    modes: Modes
    dry_run: bool
    json: bool
    projector: bool = False
    registry: Credentials | None = field(default=None, repr=False)

    def endpoint_of(self, ref: ModelRef) -> str:
        """What is asked for `ref`; "" for a file on the volume."""
        return ref.endpoint or self.endpoints.get(ref.scheme, "")

    def credentials(self, ref: ModelRef) -> Credentials | None:
        """Those of the file, else of the environment: the access key for a bucket, the login at a registry, the token
        of another source.

        Without a key in the environment, a bucket is asked with the key of the pod, as by Amazon's own programs. A
        token is for the endpoint of its source only. Raises SecretNotFound.
        """
        if self.secret is not None and ref.secret_kinds:
            return credentials_of(ref, self.secret, self.endpoint_of(ref))
        if self.aws and AWS in ref.secret_kinds:
            return credentials_of(ref, self.aws, self.endpoint_of(ref))
        if self.provider and AWS in ref.secret_kinds:
            return Credentials(None, (str(Origin.of(self.endpoint_of(ref))),), ambient=True)
        token = self.tokens.get(ref.scheme)
        return token.credentials if token else self.registry


def run(options: FetchOptions, network: NetworkSettings) -> int:
    """Runs the command and returns its exit code: 0, 1 after an error, 128 plus the number of a signal that stopped it.

    The last line on standard output is the path of the model; with `projector`, the line before it is that of the
    projector. After an error, the last line on standard error has its name and
    message.
    """
    token = _token(options)
    if token and token.is_withheld:
        _print_error(token.note)
    received: list[signal.Signals] = []
    try:
        asyncio.run(_run_until_signal(_fetch_with_retries(options, network, Clock()), received))
    except ProvisionError as error:
        if options.json:
            _print(_json({"ref": options.ref, "error": error.reason, "message": _message(options, error)}, None))
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
    options = await _logged_in(options)
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


async def _logged_in(options: FetchOptions) -> FetchOptions:
    """With the login at the registry of an artifact, unless a file has the credentials."""
    ref = parse_lenient(options.ref)
    if options.secret is not None or not isinstance(ref, OciRef):
        return options
    from model_provisioner.transfer.cli import docker_login  # noqa: PLC0415 - no other source needs it

    files = docker_login.files(options.environment)
    login = await docker_login.login_for(ref, files, direct=options.direct)
    for note in login.notes:
        _print_error(note)
    return replace(options, registry=login.credentials)


async def _fetch(options: FetchOptions, network: NetworkSettings, display: ProgressBar, clock: Clock) -> None:
    async with open_client(network) as client:
        resolver = Resolver(client, provider=options.provider)
        if options.dry_run:
            _print_plan(options, await _resolve(options, resolver))
            return
        plan, _ = await asyncio.gather(_resolve(options, resolver), asyncio.to_thread(_import_transfer))
        provided = await _transfer(options, plan, client, resolver, display, clock)
    if warning := unknown_types_warning(provided.gguf):
        _print_error(warning)
    if options.json:
        _print(_json(_document(options, plan, provided.files, {"gguf": _gguf_document(provided.gguf)}), 2))
    else:
        _print_paths(options, plan)


async def _resolve(options: FetchOptions, resolver: Resolver) -> Plan:
    ref = parse_lenient(options.ref)
    request = Resolve(
        "resolve",
        str(ref),
        options.endpoint_of(ref),
        digest=str(options.digest) if options.digest else None,
        credentials=options.credentials(ref),
        store=StoreRef(str(options.directory), None),
        projector=options.projector,
    )
    return (await resolver.resolve(request)).plan


def _import_transfer() -> None:
    """Imports what `_transfer` needs. In a thread, this does not delay the question to the hub."""
    with imports.lasting():
        import model_provisioner.transfer.cli.transfer  # noqa: F401, PLC0415 - most of what a fetch imports


async def _transfer(
    options: FetchOptions, plan: Plan, client: Client, resolver: Resolver, display: ProgressBar, clock: Clock
) -> "Provided":
    from model_provisioner.transfer.cli.transfer import transfer  # noqa: PLC0415 - see `_import_transfer`

    credentials = options.credentials(parse(plan.ref))
    addresses = addresses_of(resolver, plan.ref, credentials)
    limits = Limits(options.connections, options.bytes_per_second)
    directory, modes = options.directory, options.modes
    return await transfer(plan, directory, modes, limits, credentials, addresses, client, display, clock)


def _print_plan(options: FetchOptions, plan: Plan) -> None:
    files = plan.records
    if options.json:
        _print(_json(_document(options, plan, files, {}), 2))
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


def _json(document: Mapping[str, object], indent: int | None) -> str:
    import json  # noqa: PLC0415 - most calls print a path only

    return json.dumps(document, indent=indent)


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
        "baseModel": gguf.base_model,
        "adapter": gguf.adapter,
    }


def _message(options: FetchOptions, error: ProvisionError) -> str:
    """The message of an error, with advice that applies only to the command line."""
    token = _token(options)
    could_help = error.wants_token or (token and token.is_withheld and isinstance(error, AccessDenied))
    by_login = "by docker login, or " if options.ref.startswith("oci:") else ""
    how = token.advice if token else f"{by_login}with --credentials-file"
    return error.message + (f" ({how})" if could_help else "")


def _token(options: FetchOptions) -> Token | None:
    """The token that the source of the ref takes from the environment; None if the ref is misspelt."""
    try:
        return options.tokens.get(parse_lenient(options.ref).scheme)
    except ProvisionError:
        return None


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _print_error(text: str) -> None:
    sys.stderr.write(f"{text}\n")
