"""Resolves `hf:` refs to plans, with the metadata calls of `huggingface_hub`.

Called by `resolver`. No byte of a model is fetched here, and fetchers never import it. Which files a ref selects is
decided in `domain.refs.selection`, what an HTTP error of the hub means in `domain.network.hub_errors`.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol, TypeVar
from urllib.parse import quote

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from model_provisioner.domain.errors import DigestMismatch, InvalidRef, ProvisionError, SourceUnavailable
from model_provisioner.domain.lifecycle.suspended_message import MOST_ALTERNATIVES, Alternative, Alternatives
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.domain.network.hub_errors import HubRequest, hub_error
from model_provisioner.domain.refs.refs import HuggingFaceRef
from model_provisioner.domain.refs.selection import other_models, select, selector_of
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.sources.huggingface_transport import ORIGIN_HEADER

T = TypeVar("T")


class _LFS(Protocol):
    @property
    def sha256(self) -> str: ...


class _File(Protocol):
    """The fields of `huggingface_hub.hf_api.RepoSibling` that are used here."""

    @property
    def rfilename(self) -> str: ...
    @property
    def size(self) -> int | None: ...
    @property
    def lfs(self) -> _LFS | None: ...


async def resolve(
    ref: HuggingFaceRef,
    endpoint: str,
    revision: str | None,
    digest: Digest | None,
    credentials: Credentials | None,
    threads: Executor,
    seconds: float,
) -> tuple[Plan, Alternatives]:
    """Resolves `ref` at the commit `revision` (None: the current one), and lists other models of the repository.

    `digest` is the one that the user expects, for a model in one file. `seconds` is the deadline of all requests
    together. The library is called in `threads`, which must not be the default executor of the event loop: that one
    also resolves host names, and the library would occupy all its threads while it waits for a name. Call
    `huggingface_transport.use_client` first.

    Raises SourceNotFound, AccessDenied, LicenseNotAccepted, RateLimited, SourceUnavailable, the errors of the client
    and of `select`, InvalidRef and DigestMismatch for `digest`.
    """
    hub = _HubRepository(ref, endpoint.rstrip("/"), credentials, threads)
    deadline = asyncio.timeout(seconds)
    try:
        async with deadline:
            return await hub.plan(revision or ref.revision, digest)
    except TimeoutError:
        if not deadline.expired():
            raise
        message = f"{Origin.of(endpoint)} did not tell what {ref} is within {seconds:g} seconds"
        raise SourceUnavailable(message) from None


class _HubRepository:
    """One repository of the hub at `endpoint` (a URL without a trailing slash).

    `credentials` are used only if they are for the endpoint's origin. The library is called in `threads`.
    """

    def __init__(self, ref: HuggingFaceRef, endpoint: str, credentials: Credentials | None, threads: Executor) -> None:
        self._ref = ref
        self._endpoint = endpoint
        self._threads = threads
        self._authenticated = credentials is not None and Origin.of(endpoint) in map(Origin.of, credentials.origins)
        # False instead of None: with None the library sends a token that it finds in the environment or in a file.
        self._api = HfApi(
            endpoint=endpoint,
            token=credentials.token if credentials and self._authenticated else False,
            headers={ORIGIN_HEADER: str(Origin.of(endpoint))},
        )

    async def plan(self, revision: str | None, digest: Digest | None) -> tuple[Plan, Alternatives]:
        info = await self._call(
            lambda: self._api.model_info(self._ref.repository, revision=revision, files_metadata=True)
        )
        if info.sha is None:
            raise SourceUnavailable(f"{self._endpoint} does not tell the commit of {self._ref.repository}")
        files = {file.rfilename: file for file in info.siblings or ()}
        chosen = [files[path] for path in select(list(files), self._ref.selector)]
        if info.gated:
            await self._call(lambda: self._api.auth_check(self._ref.repository))
        planned = tuple(self._planned(file, info.sha) for file in chosen)
        return Plan(str(self._ref), info.sha, _with_expected_digest(planned, digest)), _alternatives(files, chosen)

    def _planned(self, file: _File, commit: str) -> PlannedFile:
        if file.size is None:
            raise SourceUnavailable(f"{self._endpoint} does not tell the size of {file.rfilename}")
        repository, path = self._ref.repository, file.rfilename
        return PlannedFile(
            path=store_path(self._ref, path),
            size=file.size,
            digest=Digest.parse(file.lfs.sha256) if file.lfs else None,
            source=f"hf:{repository}:{path}",
            url=f"{self._endpoint}/{repository}/resolve/{commit}/{quote(path)}",
        )

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)
        except HfHubHTTPError as error:
            raise self._error(error) from None

    def _error(self, error: HfHubHTTPError) -> ProvisionError:
        asked = HubRequest(
            subject=f"hf:{self._ref.repository}" + (f"@{self._ref.revision}" if self._ref.revision else ""),
            page=f"{self._endpoint}/{self._ref.repository}",
            authenticated=self._authenticated,
        )
        return hub_error(error.response.status_code, error.response.headers, asked, time.time())


def _alternatives(files: Mapping[str, _File], chosen: Sequence[_File]) -> Alternatives:
    """The other models among `files`: those nearest in size to the `chosen` one, sorted by size."""
    wanted, names = _size(chosen), list(files)
    models = other_models(names, [file.rfilename for file in chosen])
    sizes = {model: _size([files[path] for path in model]) for model in models}
    nearest = sorted(models, key=lambda model: abs(sizes[model] - wanted))[:MOST_ALTERNATIVES]
    nearest.sort(key=lambda model: sizes[model])
    alternatives = tuple(Alternative(selector_of(names, model), sizes[model]) for model in nearest)
    return Alternatives(alternatives, len(models) - len(alternatives))


def _size(files: Iterable[_File]) -> int:
    return sum(file.size or 0 for file in files)


def _with_expected_digest(files: tuple[PlannedFile, ...], digest: Digest | None) -> tuple[PlannedFile, ...]:
    """`files` with the digest that the user expects, which applies to a single file only.

    Raises InvalidRef for several files, DigestMismatch if the source publishes another digest.
    """
    if digest is None:
        return files
    if len(files) > 1:
        raise InvalidRef(f"a digest is for models in one file, this one has {len(files)} parts: leave the digest out")
    published = files[0].digest
    if published not in {None, digest}:
        raise DigestMismatch(
            f"the source says that {files[0].path} is {published}, and {digest} is asked for: correct the digest, "
            "or name the revision that has it"
        )
    return (PlannedFile(files[0].path, files[0].size, digest, files[0].source, files[0].url),)
