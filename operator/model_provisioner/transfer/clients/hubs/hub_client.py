"""Asks one repository of a Hugging Face hub for its description, with the client that every URL of a ref goes through.

Called by `huggingface`. Three endpoints are all that is needed: the model, its tree, and the headers of a file. How an
answer is read is in `hub_answers`, what a status means in `domain.refusals.hub_errors`. No byte of a model is read
here.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar
from urllib.parse import quote

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.redirects import redirect_target
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refusals.hub_errors import HubRequest, access_not_granted, hub_error
from model_provisioner.transfer.clients.bodies import ONE_BYTE, Malformed, TooLarge, no_answer_of, read_body
from model_provisioner.transfer.clients.hubs.hub_answers import (
    MAX_FILES,
    FileHeaders,
    ModelInfo,
    RemoteFile,
    next_query,
    parse_file_headers,
    parse_model_info,
    parse_tree,
)
from model_provisioner.transfer.http.client import Client, Method, Reply

MAX_LISTING_BYTES = 8 * 1024 * 1024
"""The most bytes of a description, or of all pages of a tree together, before and after decompression."""
_SHORT_BYTES = 256 * 1024
"""An answer that is read in some milliseconds. It does not wait for the long ones of others."""
_MAX_PAGES = 1000
_HEAD_REFUSED = frozenset({400, 403, 404, 405, 501})
"""Statuses of servers that do not know HEAD, and answer GET."""
_GOOD = frozenset({200, 206})
_MAX_ORIGINS = 3
_HUB_HEADERS = frozenset({"x-error-code", "x-error-message", "ratelimit", "retry-after"})

T = TypeVar("T")


class ListingTooLarge(Exception):
    """The hub lists more than is read. The text names its origin and says how much that is."""


class HubClient:
    """One repository of the hub at `endpoint` (a URL without a trailing slash).

    `credentials` are sent only if they are for the endpoint's origin. Each method raises what `Client.get` raises and
    `hub_error` returns, and SourceUnavailable for an answer that does not have its shape. `threads` read the answers,
    because a long one would hold up the event loop.
    """

    def __init__(
        self,
        client: Client,
        endpoint: str,
        ref: HuggingFaceRef,
        credentials: Credentials | None,
        threads: DetachedThreads,
    ) -> None:
        self._client = client
        self._threads = threads
        self._endpoint = endpoint
        self._repository = ref.repository
        self._credentials = credentials
        self._request = HubRequest(
            subject=f"hf:{ref.repository}" + (f"@{ref.revision}" if ref.revision else ""),
            page=f"{endpoint}/{ref.repository}",
            authenticated=credentials is not None and credentials.permits(Origin.of(endpoint)),
        )

    def file_url(self, revision: str, path: str) -> str:
        """The URL of a file's bytes. It does not expire if `revision` is a commit."""
        return f"{self._endpoint}/{self._repository}/resolve/{quote(revision, safe='')}/{quote(path)}"

    async def model_info(self, revision: str | None) -> ModelInfo:
        """The repository at `revision` (None: the default branch) and its files. Raises ListingTooLarge."""
        found, _, _ = await self._document(f"{self._model(revision)}?blobs=true", parse_model_info)
        return found

    async def model_facts(self, revision: str | None) -> ModelInfo:
        """Like `model_info`, without files. A hub that does not know `expand` sends them, or may refuse.

        Source: huggingface_hub 2.4, hf_api.py, `model_info(expand=…)`.
        """
        found, _, _ = await self._document(f"{self._model(revision)}?expand=sha&expand=gated", parse_model_info)
        return found

    async def tree(self, revision: str, directory: str = "") -> list[RemoteFile]:
        """All files at `revision` below `directory`, from every page of the tree. Raises ListingTooLarge."""
        url = f"{self._api}/tree/{quote(revision, safe='')}" + (f"/{quote(directory)}" if directory else "")
        files: list[RemoteFile] = []
        left, query, seen = MAX_LISTING_BYTES, "recursive=true&expand=false", {""}
        for _ in range(_MAX_PAGES):
            seen.add(query)
            page, link, size = await self._document(f"{url}?{query}", parse_tree, left)
            files += page
            left -= size
            following = self._next_query(link)
            if following is None:
                return files
            if len(files) > MAX_FILES:
                raise ListingTooLarge(f"{Origin.of(url)} lists more than {MAX_FILES:,} files")
            if following in seen:
                break
            query = following
        raise self._malformed(Origin.of(url), "pages without an end")

    def _next_query(self, link: str) -> str | None:
        return self._checked(Origin.of(self._endpoint), lambda: next_query(link))

    async def file_headers(self, revision: str, path: str) -> FileHeaders:
        """The size, digest and commit of a file, if the headers of its URL tell them; and whether it may be read.

        Servers that refuse HEAD or tell no length are asked for one byte. A redirect to another origin is followed only
        if it does not describe the file itself.
        """
        url = self.file_url(revision, path)
        replies = await self._client.headers("HEAD", url, {}, self._credentials)
        method: Method = "HEAD"
        if _refuses_head(replies[-1]):
            replies, method = await self._client.headers("GET", url, ONE_BYTE, self._credentials), "GET"
        found, last = self._described(replies), replies[-1]
        for _ in range(_MAX_ORIGINS):
            if found.size is not None or (method == "GET" and not last.is_redirect):
                break
            url = redirect_target(last.url, last.headers["Location"]) if last.is_redirect else last.url
            replies, method = (*replies, *await self._client.headers("GET", url, ONE_BYTE, last.credentials)), "GET"
            found, last = self._described(replies), replies[-1]
        return found

    def _described(self, replies: Sequence[Reply]) -> FileHeaders:
        last = replies[-1]
        if last.status not in _GOOD and not last.is_redirect:
            raise self._status_error(last)
        if last.is_web_page and not last.is_redirect:
            raise self._malformed(last.origin, "a web page")
        return self._checked(
            last.origin, lambda: parse_file_headers([(reply.status, reply.headers) for reply in replies])
        )

    def _model(self, revision: str | None) -> str:
        return self._api + (f"/revision/{quote(revision, safe='')}" if revision else "")

    @property
    def _api(self) -> str:
        return f"{self._endpoint}/api/models/{self._repository}"

    async def _document(
        self, url: str, parse: Callable[[bytes], T], most: int = MAX_LISTING_BYTES
    ) -> tuple[T, str, int]:
        """What `parse` makes of the answer's body, its `Link` header, and the bytes of the body, at most `most`."""
        async with await self._client.get(url, {"Accept": "application/json"}, self._credentials) as reply:
            if reply.status != 200:
                raise self._status_error(reply)
            if reply.is_web_page:
                raise self._malformed(reply.origin, "a web page")
            try:
                body = await read_body(reply, most, MAX_LISTING_BYTES)
                found = parse(body) if len(body) <= _SHORT_BYTES else await self._threads.run(lambda: parse(body))
                return found, reply.headers.get("Link", ""), len(body)
            except Malformed as error:
                raise self._malformed(reply.origin, str(error)) from None
            except TooLarge as error:
                raise ListingTooLarge(f"{reply.origin} lists {error}") from None

    def _checked(self, origin: Origin, read: Callable[[], T]) -> T:
        try:
            return read()
        except Malformed as error:
            raise self._malformed(origin, str(error)) from None

    def _malformed(self, origin: Origin, sent: str) -> SourceUnavailable:
        return no_answer_of("a hub", origin, sent, self._request.subject)

    def access_error(self) -> ProvisionError:
        """The error for a caller who may list the files and not read them."""
        return access_not_granted(self._request)

    def _status_error(self, reply: Reply) -> ProvisionError:
        if reply.origin != Origin.of(self._endpoint) and not _HUB_HEADERS & set(map(str.lower, reply.headers)):
            return SourceUnavailable(f"{reply.origin}, to which the hub redirects, answered {reply.status}")
        asked = replace(self._request, withheld=self._request.authenticated and reply.credentials is None)
        return hub_error(reply.status, reply.headers, asked, time.time())


def _refuses_head(reply: Reply) -> bool:
    return reply.status in _HEAD_REFUSED and "X-Error-Code" not in reply.headers
