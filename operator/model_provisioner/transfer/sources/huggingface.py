"""Resolves `hf:` refs to plans.

Called by `resolver`. No byte of a model is fetched here. Which files a ref selects is decided in
`domain.model_files.selection`; here, where a fact comes from that one answer of the hub leaves out: a mirror may list
files without sizes, or serve only the files themselves. The requests are sent by `hub_client`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

from model_provisioner.aio.parallel import in_parallel
from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.errors import (
    ProvisionError,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_files.part_names import parts_of
from model_provisioner.domain.model_files.projectors import NO_PROJECTOR
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.refs import parse
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.paths import store_path
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.clients.hubs.hub_answers import FileHeaders, ModelInfo, RemoteFile
from model_provisioner.transfer.clients.hubs.hub_client import HubClient, ListingTooLarge
from model_provisioner.transfer.sources.alternatives import alternatives
from model_provisioner.transfer.sources.chosen import chosen_files, judged, of_model
from model_provisioner.transfer.sources.source import Asked, Resolved, Source, identity, with_expected_digest

_TREE_SECONDS = 20.0  # the rest of the time is for the headers of the files
_MAX_PLAIN_BYTES = 10 * 1024 * 1024
"""A larger file is an LFS file, which has a digest: the hub takes no larger file into git."""
_PARALLEL_REQUESTS = 8


class HuggingFace(Source[HuggingFaceRef]):
    """Repositories of a Hugging Face hub, and of the mirrors that speak its API."""

    finds_projectors = True

    async def resolve(self, asked: Asked[HuggingFaceRef]) -> Resolved:
        """Raises SourceNotFound, AccessDenied, LicenseNotAccepted, RateLimited, SourceUnavailable, the errors of the
        client, of `chosen_files`, UnsupportedSource for a listing that is too large, InvalidRef and
        DigestMismatch for the digest.
        """
        endpoint, threads = asked.endpoint.rstrip("/"), self._tools.reading
        hub = HubClient(self._tools.client, endpoint, asked.ref, asked.credentials, threads)
        repository = _Repository(
            asked.ref, hub, endpoint, threads, own_hub=asked.own_endpoint, projector=asked.projector
        )
        return await repository.plan(asked.revision or asked.ref.revision, asked.digest)


class _Repository:
    """The repository of `ref`, as `hub` describes it. `endpoint` is the URL of that hub.

    `projector`: the multimodal projector of the model is wanted too.
    """

    def __init__(
        self,
        ref: HuggingFaceRef,
        hub: HubClient,
        endpoint: str,
        threads: DetachedThreads,
        *,
        own_hub: bool,
        projector: bool,
    ) -> None:
        self._ref = ref
        self._threads = threads
        self._hub = hub
        self._endpoint = endpoint
        self._own_hub = own_hub
        self._wants_projector = projector

    async def plan(self, revision: str | None, digest: Digest | None) -> Resolved:
        info, at, files = await self._listing(revision)
        chosen = await judged(
            files, self._threads, lambda: chosen_files([*files], self._ref.selector, projector=self._wants_projector)
        )
        for path in chosen:
            store_path(self._ref, path)  # before a request is made of the name: `..` would lead out of the repository
        if info.files is not None and not all(_is_described(files[path]) for path in chosen):
            files |= await self._described_by_tree(files, at)
        commit, described = await self._described_by_headers([files[path] for path in chosen], info, at)
        ref = _canonical(self._ref, info.repository)
        planned = tuple(
            self._planned(ref, file, commit, role) for file, role in zip(described, chosen.values(), strict=True)
        )
        files |= {file.path: file for file in described}
        plan = Plan(str(self._ref), commit, with_expected_digest(planned, digest), ref.repository)
        sizes = {path: file.size for path, file in files.items()}
        return Resolved(plan, await judged(files, self._threads, lambda: alternatives(sizes, of_model(chosen))))

    async def _listing(self, revision: str | None) -> tuple[ModelInfo, str, dict[str, RemoteFile]]:
        """The repository, the commit or revision to ask for, and its files.

        If they are too many, those that a path or a directory in the ref can mean. Raises UnsupportedSource otherwise.
        """
        try:
            info = await self._hub.model_info(revision)
            at = info.commit or revision or HuggingFaceRef.default_branch
            return info, at, await self._files(info, at)
        except ListingTooLarge as error:
            if self._wants_projector:
                raise self._too_large_for_projector(error) from None
            if not (self._ref.selector or "").lower().endswith(("/", ".gguf")):
                raise self._too_large(error) from None
        info = await self._facts(revision)
        at = info.commit or revision or HuggingFaceRef.default_branch
        return info, at, await self._narrow_listing(self._ref.selector or "", at)

    async def _facts(self, revision: str | None) -> ModelInfo:
        """The repository without its files; without any fact if the hub does not tell them alone."""
        try:
            return replace(await self._hub.model_facts(revision), files=None)
        except (ListingTooLarge, SourceUnavailable):
            return ModelInfo(None, None, gated=False, files=None)

    async def _narrow_listing(self, selector: str, at: str) -> dict[str, RemoteFile]:
        """The files below the directory `selector`, or the parts of the file at that path, which may not be there."""
        if not selector.endswith("/"):
            return {path: RemoteFile(path, None, None) for path in parts_of(selector)}
        try:
            return {file.path: file for file in await self._hub.tree(at, selector.rstrip("/"))}
        except ListingTooLarge as error:
            raise self._too_large(error) from None

    def _too_large(self, error: ListingTooLarge) -> UnsupportedSource:
        repository = f"hf:{self._ref.repository}"
        return UnsupportedSource(
            f"{error} when asked for {self._ref}, which is too much to choose from: name the directory or the file, as "
            f"in {repository}:DIRECTORY/ or {repository}:DIRECTORY/MODEL.gguf"
        )

    def _too_large_for_projector(self, error: ListingTooLarge) -> UnsupportedSource:
        example = f"hf:{self._ref.repository}:DIRECTORY/PROJECTOR.gguf"
        return UnsupportedSource(
            f"{error} when asked for {self._ref}, which is too much to find its projector in: {NO_PROJECTOR}, and "
            f"fetch the projector by its path as a model of its own, as in {example}"
        )

    async def _files(self, info: ModelInfo, at: str) -> dict[str, RemoteFile]:
        found = await self._hub.tree(at) if info.files is None else info.files
        return {file.path: file for file in found}

    async def _described_by_tree(self, files: Mapping[str, RemoteFile], at: str) -> dict[str, RemoteFile]:
        """The entries of the tree for `files`; none if the tree can't be read, which not every mirror has."""
        try:
            async with asyncio.timeout(_TREE_SECONDS):
                entries = await self._hub.tree(at)
        except (
            ProvisionError,
            ListingTooLarge,
            TimeoutError,
        ):  # then the headers of the files tell, or fail for the same reason
            return {}
        return {entry.path: _merged(files[entry.path], entry) for entry in entries if entry.path in files}

    async def _described_by_headers(
        self, files: Sequence[RemoteFile], info: ModelInfo, at: str
    ) -> tuple[str, list[RemoteFile]]:
        """The commit, and `files` with what the headers of their URLs tell, if something is missing.

        The first file of a gated repository is always asked for: a caller without access must not get a plan.
        """
        first, *others = files
        headers: dict[str, FileHeaders] = {}
        if info.gated or info.commit is None or not _is_described(first):
            headers[first.path] = await self._headers(first, at)
        missing = [file for file in others if not _is_described(file)]
        answers = await in_parallel(_PARALLEL_REQUESTS, lambda file: self._headers(file, at), missing)
        headers |= dict(zip((file.path for file in missing), answers, strict=True))
        commit = info.commit or headers[first.path].commit
        if commit is None:
            raise SourceUnavailable(f"{Origin.of(self._endpoint)} does not tell the commit of {self._ref.repository}")
        return commit, [self._completed(file, headers.get(file.path)) for file in files]

    async def _headers(self, file: RemoteFile, at: str) -> FileHeaders:
        try:
            return await self._hub.file_headers(at, file.path)
        except SourceNotFound:
            if file.masked:
                raise self._hub.access_error() from None
            raise

    def _completed(self, file: RemoteFile, headers: FileHeaders | None) -> RemoteFile:
        """`file` with what `headers` tell. Raises SourceUnavailable if its size is still not known.

        A masked digest means that the caller may not read the file, unless the hub tells the digest in the headers: a
        mirror may hand out the list that an anonymous caller gets.
        """
        told = file if headers is None else _merged(file, RemoteFile(file.path, headers.size, headers.digest))
        if file.masked and told.digest is None:
            raise self._hub.access_error()
        if told.size is None:
            raise SourceUnavailable(f"{Origin.of(self._endpoint)} does not tell the size of {file.path!a}")
        return told

    def _planned(self, ref: HuggingFaceRef, file: RemoteFile, commit: str, role: FileRole) -> PlannedFile:
        """`ref` has the canonical name of the repository, so that all its spellings share one file."""
        source = f"hf:{ref.repository}:{file.path}"
        return PlannedFile(
            path=store_path(ref, file.path, self._endpoint, own=self._own_hub),
            size=file.size or 0,
            digest=file.digest,
            source=identity(source, self._endpoint, own=self._own_hub),
            url=self._hub.file_url(commit, file.path),
            endpoint=self._endpoint,
            digest_published=file.digest is not None,
            role=role,
        )


def _is_described(file: RemoteFile) -> bool:
    """Whether size and digest are known, or the file is so small that it may have no digest."""
    if file.size is None or file.masked:
        return False
    return file.digest is not None or file.size <= _MAX_PLAIN_BYTES


def _merged(file: RemoteFile, other: RemoteFile) -> RemoteFile:
    """`file` with the fields of `other` that it lacks."""
    size = other.size if file.size is None else file.size
    return RemoteFile(file.path, size, file.digest or other.digest, file.masked or other.masked)


def _canonical(ref: HuggingFaceRef, name: str | None) -> HuggingFaceRef:
    """`ref` with the `name` that the hub has for the repository, which differs in letter case or after a renaming.

    A name that is not of the form owner/repo is ignored.
    """
    try:
        named = parse(f"hf:{name}")
    except ProvisionError:
        return ref
    if not isinstance(named, HuggingFaceRef) or named.repository != name:
        return ref
    return replace(ref, owner=named.owner, repo=named.repo)
