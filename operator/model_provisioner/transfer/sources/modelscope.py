"""Resolves `modelscope:` refs to plans.

Called by `resolver`. No byte of a model is fetched here. Which files a ref selects is decided in
`domain.model_files.selection`, as for `hf:`. Here: which commit a revision is, and how files are found although the hub
cuts listings off. The requests are sent by `modelscope_client`.
"""

import re
from collections.abc import Iterable, Sequence

from model_provisioner.aio.parallel import in_parallel
from model_provisioner.domain.errors import SourceUnavailable, UnsupportedSource
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_files.part_names import parts_of
from model_provisioner.domain.model_files.projectors import NO_PROJECTOR
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.modelscope import ModelScopeRef
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.clients.bodies import TooLarge
from model_provisioner.transfer.clients.hubs.hub_answers import MAX_FILES, RemoteFile
from model_provisioner.transfer.clients.hubs.modelscope_answers import MOST_LISTED, Listing
from model_provisioner.transfer.clients.hubs.modelscope_client import ModelScopeClient
from model_provisioner.transfer.sources.alternatives import alternatives
from model_provisioner.transfer.sources.chosen import chosen_files, judged, of_model
from model_provisioner.transfer.sources.source import Asked, Resolved, Source, identity, with_expected_digest

_COMMIT = re.compile(r"[0-9a-f]{40}")
_SHORT_COMMIT = re.compile(r"[0-9a-f]{7,39}")
_MOST_LISTINGS = 300
"""Requests for the listings of one repository, which are as many as it has large directories."""
_PARALLEL_LISTINGS = 2  # of up to 8 MiB each
_PARALLEL_FILES = 8


class ModelScope(Source[ModelScopeRef]):
    """Repositories of ModelScope, and of the hubs that speak its API."""

    finds_projectors = True

    async def resolve(self, asked: Asked[ModelScopeRef]) -> Resolved:
        """Raises SourceNotFound, AccessDenied, RateLimited, SourceUnavailable, the errors of the client and of
        `chosen_files`, UnsupportedSource for a repository that can't be listed, and what `with_expected_digest` raises.
        """
        endpoint = asked.endpoint.rstrip("/")
        threads = self._tools.reading
        hub = ModelScopeClient(self._tools.client, endpoint, asked.ref, asked.credentials, threads)
        commit = await commit_of(hub, asked.revision or asked.ref.revision)
        files = await _Files(hub, asked.ref, commit, Origin.of(endpoint), projector=asked.projector).found()
        chosen = await judged(
            files, threads, lambda: chosen_files([*files], asked.ref.selector, projector=asked.projector)
        )
        for path in chosen:
            store_path(asked.ref, path)  # before a request is made of the name
        described = await _described(hub, commit, [files[path] for path in chosen])
        planned = tuple(
            _planned(asked, endpoint, hub.file_url(commit, file.path), file, role)
            for file, role in zip(described, chosen.values(), strict=True)
        )
        files |= {file.path: file for file in described}
        sizes = {path: file.size for path, file in files.items()}
        plan = Plan(str(asked.ref), commit, with_expected_digest(planned, asked.digest), asked.ref.repository)
        return Resolved(plan, await judged(files, threads, lambda: alternatives(sizes, of_model(chosen))))


async def commit_of(hub: ModelScopeClient, revision: str | None) -> str:
    """The commit that `revision` names; None is the default branch.

    The hub answers with the newest commit of the default branch if it does not understand which revision is meant, so
    another one is compared with what git sees. Raises SourceNotFound, and SourceUnavailable if it can't be told.
    """
    if revision is not None and _COMMIT.fullmatch(revision):
        return revision
    found = await hub.newest_commit(revision or ModelScopeRef.default_branch)
    if revision in {None, ModelScopeRef.default_branch}:
        return found
    if _SHORT_COMMIT.fullmatch(revision or "") and found.startswith(revision or ""):
        return found
    refs = await hub.git_refs()
    if refs is None:
        if found == await hub.newest_commit(ModelScopeRef.default_branch):
            raise hub.unclear_revision(f"answers with the commit of {ModelScopeRef.default_branch}")
        return found
    if revision not in refs:
        raise hub.no_revision()
    if refs[revision] != found:
        raise hub.unclear_revision("names two commits")
    return found


class _Files:
    """The files of the repository of `ref` at `commit`; where they are many, those that `ref` can mean.

    `projector`: the projector of the model is looked for too, and it can be in another directory.
    """

    def __init__(
        self, hub: ModelScopeClient, ref: ModelScopeRef, commit: str, origin: Origin, *, projector: bool
    ) -> None:
        self._hub = hub
        self._ref = ref
        self._commit = commit
        self._origin = origin
        self._projector = projector
        self._listings = 0
        self._listed_files = 0

    async def found(self) -> dict[str, RemoteFile]:
        """Raises UnsupportedSource if the hub does not list them all, and the ref does not say where to look."""
        selector = self._ref.selector or ""
        whole = await self._below("")
        if not whole.is_cut_off:
            return _by_path([whole])
        if self._projector:
            raise UnsupportedSource(
                f"{self._origin} does not list all files of {self._ref}, so its projector can't be found: "
                f"{NO_PROJECTOR}"
            )
        if selector.lower().endswith(".gguf"):
            return {path: RemoteFile(path, None, None) for path in parts_of(selector)}
        return await self._walked(selector.rstrip("/") if selector.endswith("/") else "")

    async def _walked(self, root: str) -> dict[str, RemoteFile]:
        """The files below `root`, level by level: only directories with too many files are looked into themselves."""
        files: dict[str, RemoteFile] = {}
        level = [root]
        while level:
            below = await in_parallel(_PARALLEL_LISTINGS, self._below, level)
            files |= _by_path(below)
            large = [one for one, listing in zip(level, below, strict=True) if listing.is_cut_off]
            direct = await in_parallel(_PARALLEL_LISTINGS, self._direct, large)
            for directory, listing in zip(large, direct, strict=True):
                if listing.is_cut_off:
                    raise self._refused(f"lists no more than {MOST_LISTED:,} entries of {directory or 'the root'!a}")
            files |= _by_path(direct)
            level = self._checked_directories(large, direct)
        return files

    def _checked_directories(self, parents: Sequence[str], listings: Sequence[Listing]) -> list[str]:
        """The directories in `parents`. A walk ends because each is deeper than the one before."""
        found = dict.fromkeys(path for listing in listings for path in listing.directories)
        depths = {parent.count("/") + 1 if parent else 0 for parent in parents}
        if any(path.count("/") not in depths for path in found):
            raise SourceUnavailable(f"{self._origin} lists directories that are not where it was asked for them")
        return list(found)

    async def _below(self, directory: str) -> Listing:
        return await self._listed(directory, recursive=True)

    async def _direct(self, directory: str) -> Listing:
        return await self._listed(directory, recursive=False)

    async def _listed(self, root: str, *, recursive: bool) -> Listing:
        self._listings += 1
        if self._listings > _MOST_LISTINGS:
            raise self._refused(f"needs more than {_MOST_LISTINGS} requests to list the repository")
        try:
            found = await self._hub.listing(self._commit, root, recursive=recursive)
        except TooLarge as error:
            raise self._refused(f"lists {error}") from None
        self._listed_files += len(found.files)
        if self._listed_files > MAX_FILES:
            raise self._refused(f"lists more than {MAX_FILES:,} files")
        return found

    def _refused(self, problem: str) -> UnsupportedSource:
        repository = f"modelscope:{self._ref.repository}"
        return UnsupportedSource(
            f"{self._origin} {problem} when asked for {self._ref}, which is too much to choose from: name the "
            f"directory or the file, as in {repository}:DIRECTORY/ or {repository}:DIRECTORY/MODEL.gguf"
        )


def _by_path(listings: Iterable[Listing]) -> dict[str, RemoteFile]:
    return {file.path: file for listing in listings for file in listing.files}


async def _described(hub: ModelScopeClient, commit: str, files: Sequence[RemoteFile]) -> list[RemoteFile]:
    """`files` with what the headers of their URLs tell, where the listing does not.

    The first one is always asked for: who may list a repository may not be allowed to read it.
    """
    first, *others = files

    async def described(file: RemoteFile) -> RemoteFile:
        known = file.size is not None and file.digest is not None
        if known and file is not first:
            return file
        headers = await hub.file_headers(commit, file.path, described=known)
        digest = file.digest or headers.digest
        if file.masked and digest is None:
            raise hub.no_access()
        size = headers.size if file.size is None else file.size
        if size is None:
            raise SourceUnavailable(f"the size of {file.path!a} is told neither in the listing nor in its headers")
        return RemoteFile(file.path, size, digest)

    return [await described(first), *await in_parallel(_PARALLEL_FILES, described, others)]


def _planned(asked: Asked[ModelScopeRef], endpoint: str, url: str, file: RemoteFile, role: FileRole) -> PlannedFile:
    source = f"modelscope:{asked.ref.repository}:{file.path}"
    return PlannedFile(
        path=store_path(asked.ref, file.path, endpoint, own=asked.own_endpoint),
        size=file.size or 0,
        digest=file.digest,
        source=identity(source, endpoint, own=asked.own_endpoint),
        url=url,
        endpoint=endpoint,
        digest_published=file.digest is not None,
        role=role,
    )
