"""Asks one repository of ModelScope for its commit, its files and the headers of a file.

Called by `modelscope`. Every URL goes through the one client with its address guard, and the token to its own origins
only. How an answer is read is in `modelscope_answers`, what a refusal means in `domain.refusals.modelscope_errors`. No
byte of a model is read here. Source of the endpoints: modelscope_hub 0.5.1, _legacy_api.py; modelscope 1.30, hub/api.py
(`list_repo_commits`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError, SourceNotFound, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.redirects import redirect_target
from model_provisioner.domain.refs.modelscope import ModelScopeRef
from model_provisioner.domain.refusals.hub_errors import HubRequest
from model_provisioner.domain.refusals.modelscope_errors import (
    NO_ACCESS,
    NOT_FOUND,
    bad_token,
    modelscope_error,
    no_access,
)
from model_provisioner.transfer.clients.bodies import ONE_BYTE, Malformed, TooLarge, no_answer_of, read_body
from model_provisioner.transfer.clients.hubs.hub_answers import FileHeaders, parse_file_headers
from model_provisioner.transfer.clients.hubs.modelscope_answers import (
    Listing,
    Refused,
    parse_code,
    parse_commit,
    parse_listing,
    parse_refs,
)
from model_provisioner.transfer.http.client import Client, Reply

_MOST_BYTES = 8 * 1024 * 1024
"""Of one answer, before and after decompression."""
_MOST_ERROR_BYTES = 64 * 1024
_MOST_REF_BYTES = 1024 * 1024
_SHORT_BYTES = 256 * 1024
_MAX_ORIGINS = 3
_GOOD = frozenset({200, 206})
_JSON = {"Accept": "application/json"}
_GIT = {"User-Agent": "git/2.39"}
"""The hub answers 421 to others (`git-upload-pack`)."""
_REFUSALS = frozenset({NOT_FOUND, NO_ACCESS})

T = TypeVar("T")


class ModelScopeClient:
    """One repository of the hub at `endpoint` (a URL without a trailing slash).

    `credentials` are sent only if they are for the endpoint's origin. Each method raises what `Client.get` raises and
    `modelscope_error` returns, and SourceUnavailable for an answer that does not have its shape. `threads` read the
    answers, because a long one would hold up the event loop.
    """

    def __init__(
        self,
        client: Client,
        endpoint: str,
        ref: ModelScopeRef,
        credentials: Credentials | None,
        threads: DetachedThreads,
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._threads = threads
        self._repository = ref.repository
        self._api = f"{endpoint}/api/v1/models/{ref.repository}"
        self._credentials = credentials
        self._origin = Origin.of(endpoint)
        self._request = HubRequest(
            subject=f"modelscope:{ref.repository}" + (f"@{ref.revision}" if ref.revision else ""),
            page=str(self._origin),
            authenticated=credentials is not None and credentials.permits(self._origin),
        )

    def file_url(self, commit: str, path: str) -> str:
        """The URL of a file's bytes. It does not expire."""
        return f"{self._api}/repo?Revision={quote(commit, safe='')}&FilePath={quote(path, safe='')}"

    async def newest_commit(self, revision: str) -> str:
        """The commit that a branch or a tag names, or a short form of a commit. Raises SourceNotFound."""
        try:
            found = await self._document(f"{self._api}/commits?Ref={quote(revision, safe='')}&PageSize=1", parse_commit)
        except TooLarge as error:
            raise self._malformed(self._origin, str(error)) from None
        if found is None:
            raise self.no_revision()
        return found

    async def git_refs(self) -> Mapping[str, str] | None:
        """The commit of each branch and tag, as git sees them; None if they can't be read."""
        url = f"{self._endpoint}/{self._repository}.git/info/refs?service=git-upload-pack"
        async with await self._client.get(url, _GIT, self._git_credentials()) as reply:
            if reply.status != 200 or reply.origin != self._origin:
                return None
            try:
                return parse_refs(await read_body(reply, _MOST_REF_BYTES, _MOST_REF_BYTES))
            except (Malformed, TooLarge):
                return None

    def _git_credentials(self) -> Credentials | None:
        """Git's own: modelscope_hub 0.5.1, _git.py, `_inject_token`."""
        if self._credentials is None or self._credentials.token is None:
            return self._credentials
        return replace(self._credentials, token=None, username="oauth2", password=self._credentials.token)

    async def listing(self, commit: str, root: str, *, recursive: bool) -> Listing:
        """What is in the directory `root`, with `recursive` below it as well. Raises TooLarge."""
        url = f"{self._api}/repo/files?Revision={quote(commit, safe='')}&Recursive={recursive}"
        return await self._document(
            url + (f"&Root={quote(root, safe='')}" if root else ""), lambda body: parse_listing(body, root)
        )

    async def file_headers(self, commit: str, path: str, *, described: bool) -> FileHeaders:
        """The size and the digest of a file, if headers tell them; and whether it may be read.

        One byte is asked for, because HEAD is answered with 200 for any file. A redirect to another origin means that
        the file may be read; it is followed only if the file is not `described` yet.
        """
        url, credentials, replies = self.file_url(commit, path), self._credentials, list[Reply]()
        for _ in range(_MAX_ORIGINS):
            replies += await self._client.headers("GET", url, ONE_BYTE, credentials)
            if described or not replies[-1].is_redirect:
                break
            url, credentials = _redirected(replies[-1])
        last = replies[-1]
        if not last.is_redirect and last.status not in _GOOD:
            raise await self._file_error(last)
        if last.is_web_page and not last.is_redirect:
            raise self._malformed(last.origin, "a web page")
        return self._headers_of(replies)

    def _headers_of(self, replies: Sequence[Reply]) -> FileHeaders:
        try:
            return parse_file_headers([(reply.status, reply.headers) for reply in replies])
        except Malformed as error:
            raise self._malformed(replies[-1].origin, str(error)) from None

    async def _file_error(self, refused: Reply) -> ProvisionError:
        """The error for a file that is `refused`, whose body has not been read: the hub is asked again for its code."""
        if refused.origin != self._origin:
            return SourceUnavailable(f"{refused.origin}, to which the hub redirects, answered {refused.status}")
        async with await self._client.get(refused.url, ONE_BYTE, refused.credentials) as reply:
            return await self._status_error(reply if reply.origin == self._origin else refused)

    async def _document(self, url: str, parse: Callable[[bytes], T]) -> T:
        async with await self._client.get(url, _JSON, self._credentials) as reply:
            if reply.status != 200:
                raise await self._status_error(reply)
            if reply.is_web_page:
                raise self._malformed(reply.origin, "a web page")
            try:
                body = await read_body(reply, _MOST_BYTES, _MOST_BYTES)
                return parse(body) if len(body) <= _SHORT_BYTES else await self._threads.run(lambda: parse(body))
            except Malformed as error:
                raise self._malformed(reply.origin, str(error)) from None
            except Refused as refused:
                raise await self._error(reply, refused.code) from None

    async def _status_error(self, reply: Reply) -> ProvisionError:
        if reply.origin != self._origin:
            return SourceUnavailable(f"{reply.origin}, to which the hub redirects, answered {reply.status}")
        if not 400 <= reply.status < 500:
            return await self._error(reply, None)
        try:
            return await self._error(reply, parse_code(await read_body(reply, _MOST_ERROR_BYTES, _MOST_ERROR_BYTES)))
        except (Malformed, TooLarge):
            return await self._error(reply, None)

    async def _error(self, reply: Reply, code: int | None) -> ProvisionError:
        asked = replace(self._request, withheld=self._request.authenticated and reply.credentials is None)
        if code in _REFUSALS and reply.credentials is not None and await self._is_bad_token():
            return bad_token(asked)
        return modelscope_error(reply.status, code, reply.headers, asked, time.time())

    async def _is_bad_token(self) -> bool:
        """Whether the hub says that it does not know the token, which it does nowhere else."""
        (*_, last) = await self._client.headers("GET", f"{self._endpoint}/openapi/v1/users/me", {}, self._credentials)
        return last.status == 401

    def no_access(self) -> ProvisionError:
        """The error for a caller who may list the files and not read them."""
        return no_access(self._request)

    def no_revision(self) -> SourceNotFound:
        return SourceNotFound(
            f"{self._request.subject} has no such revision: check the branch, tag or commit after @, of which the "
            f"usual one is @{ModelScopeRef.default_branch}"
        )

    def unclear_revision(self, problem: str) -> SourceUnavailable:
        return SourceUnavailable(f"{self._origin} {problem} when asked for {self._request.subject}: name the commit")

    def _malformed(self, origin: Origin, sent: str) -> SourceUnavailable:
        return no_answer_of("ModelScope", origin, sent, self._request.subject)


def _redirected(reply: Reply) -> tuple[str, Credentials | None]:
    return redirect_target(reply.url, reply.headers["Location"]), reply.credentials
