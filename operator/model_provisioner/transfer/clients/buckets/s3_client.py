"""Asks one bucket, with the client that every address of a ref goes through. Called by `s3`.

Four requests are all that is needed: the head of an object, the parts it was uploaded in, the pages of a listing, and
the head of the bucket, which tells its region. What an answer says is read in `s3_answers`, what an error means in
`domain.refusals.s3_errors`. No byte of a model is read here.
"""

import contextlib
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.credentials.credentials import AwsKeys
from model_provisioner.domain.credentials.sigv4 import encoded, presigned
from model_provisioner.domain.errors import ProvisionError, SourceUnavailable, UnsupportedSource
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.buckets import DEFAULT_REGION, Bucket, hinted_region, is_global, known_region
from model_provisioner.domain.refs.s3 import S3Ref
from model_provisioner.domain.refusals.s3_errors import (
    SIGNATURE_CODES,
    S3Answer,
    S3Request,
    may_pass,
    s3_error,
    told_region,
)
from model_provisioner.domain.store.upload_parts import MAX_UPLOAD_PARTS, UploadParts
from model_provisioner.transfer.clients.bodies import ONE_BYTE, Malformed, TooLarge, no_answer_of, read_body
from model_provisioner.transfer.clients.buckets.s3_answers import Page, PartsPage, parse_error, parse_page, parse_parts
from model_provisioner.transfer.http.client import Client, Method, Reply

MAX_KEYS = 20_000
"""The most keys below a prefix that are looked at."""
_MAX_PAGES = 100
_MAX_PARTS_PAGES = 20  # those of Amazon's have 1,000 parts
_MAX_PAGE_BYTES = 4 * 1024 * 1024
_MAX_ERROR_BYTES = 64 * 1024
_SECONDS = 900
"""The lifetime of a signed address: as much as the clocks may differ, and as the shortest session of Amazon's."""
_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}
_OBJECT_PARTS = {"x-amz-object-attributes": "ObjectParts", "x-amz-max-parts": "1000"}
_GOOD = frozenset({200, 206})


class BucketClient:
    """The bucket of `ref` in its region. `keys` None: nothing is signed, as for a public bucket.

    `threads` read the pages of a listing, because a long one would hold up the event loop.

    Each method raises what `Client.get` raises and `s3_error` returns, and SourceUnavailable for an answer that does
    not have its shape.
    """

    def __init__(
        self, client: Client, threads: DetachedThreads, ref: S3Ref, bucket: Bucket, keys: AwsKeys | None
    ) -> None:
        self._client = client
        self._threads = threads
        self._ref = ref
        self._bucket = bucket
        self.keys = keys

    @classmethod
    async def open(
        cls, client: Client, threads: DetachedThreads, ref: S3Ref, endpoint: str, keys: AwsKeys | None
    ) -> "BucketClient":
        """Finds the region: from the endpoint, else from the server, which tells it whatever the rights are."""
        region = known_region(endpoint)
        if region is None and (keys or is_global(endpoint)):
            first = cls(client, threads, ref, Bucket(endpoint, ref.bucket, DEFAULT_REGION), keys)
            region = await first._told_region()
        return cls(client, threads, ref, Bucket(endpoint, ref.bucket, region or DEFAULT_REGION), keys)

    def address(self, key: str, version: str | None) -> str:
        """Where the bytes of `key` are, signed for 15 minutes if there is an access key."""
        query = {"versionId": version} if version else {}
        return self._signed("GET", self._bucket.url_of(key), query, {})

    async def head(self, key: str, version: str | None) -> Reply:
        """The headers of an object, with its checksum. The head of an error has no code, so a byte is asked for then.

        HEAD, because the answer to a range has no checksum of the whole object.
        """
        query = {"versionId": version} if version else {}
        url = self._bucket.url_of(key)
        reply = await self._head(self._signed("HEAD", url, query, _CHECKSUM), _CHECKSUM)
        if reply.status in _GOOD:
            return reply
        asked = self._signed("GET", url, query, _CHECKSUM)
        async with await self._client.get(asked, {**_CHECKSUM, **ONE_BYTE}, None) as answer:
            if answer.status in _GOOD:
                return answer
            raise await self._error(answer)

    async def upload_parts(self, key: str, version: str | None) -> UploadParts | None:
        """The parts that an object was uploaded in. None if the server does not tell each with its SHA-256.

        Few servers do, and the access key may lack the right (s3:GetObjectAttributes), so that this is no error. An
        answer that may pass, such as 500, is one: the check must not be left out because of it.
        """
        found: list[tuple[int, int, bytes]] = []
        marker = "0"
        for _ in range(_MAX_PARTS_PAGES):
            page = await self._parts_page(key, version, marker)
            found += page.parts if page else ()
            if page is None or not found or len(found) > MAX_UPLOAD_PARTS:
                return None
            if page.following is None:
                return _in_order(found)
            marker = page.following
        return None

    async def _parts_page(self, key: str, version: str | None, marker: str) -> PartsPage | None:
        query = {"attributes": "", **({"versionId": version} if version else {})}
        headers = {**_OBJECT_PARTS, "x-amz-part-number-marker": marker}
        url = self._signed("GET", self._bucket.url_of(key), query, headers)
        async with await self._client.get(url, headers, None) as reply:
            if reply.status == 200:
                with contextlib.suppress(Malformed, TooLarge):
                    body = await read_body(reply, _MAX_PAGE_BYTES, _MAX_PAGE_BYTES)
                    return await self._threads.run(lambda: parse_parts(body))
            elif may_pass(answer := await self._answer(reply)):
                raise self._explained(answer, reply, f"the upload parts (GetObjectAttributes) of {self._ref}")
            return None

    async def sizes(self, prefix: str) -> dict[str, int]:
        """The sizes of all objects whose keys begin with `prefix`, in bytes. Raises UnsupportedSource for too many."""
        found: dict[str, int] = {}
        token: str | None = None
        seen = set[str]()
        for _ in range(_MAX_PAGES):
            page = await self._page(prefix, token)
            found |= page.sizes
            if len(found) > MAX_KEYS:
                raise UnsupportedSource(
                    f"{self._ref} has more than {MAX_KEYS:,} keys below it: name a longer prefix, or the key itself"
                )
            token = page.following
            if token is None:
                return found
            if token in seen:
                break
            seen.add(token)
        raise self._malformed("pages without an end")

    async def _page(self, prefix: str, token: str | None) -> Page:
        query = {"list-type": "2", "prefix": prefix, "encoding-type": "url", "max-keys": "1000"}
        if token is not None:
            query["continuation-token"] = token
        async with await self._client.get(self._signed("GET", self._bucket.url, query, {}), {}, None) as reply:
            if reply.status != 200:
                raise await self._error(reply)
            try:
                body = await read_body(reply, _MAX_PAGE_BYTES, _MAX_PAGE_BYTES)
                return await self._threads.run(lambda: parse_page(body, prefix))
            except (Malformed, TooLarge) as error:
                raise self._malformed(str(error)) from None

    async def _told_region(self) -> str | None:
        """The head of the bucket tells it without a signature. Some servers tell it only when a signature is wrong."""
        head = await self._head(self._bucket.url, {})
        region = told_region(S3Answer(head.status, head.headers))
        if region is not None or self.keys is None:
            return region
        query = {"list-type": "2", "max-keys": "0"}
        async with await self._client.get(self._signed("GET", self._bucket.url, query, {}), {}, None) as reply:
            if reply.status == 200:
                return None
            answer = await self._answer(reply)
            hint = hinted_region(self._bucket.endpoint) if answer.code in SIGNATURE_CODES else None
            return told_region(answer) or hint

    async def _head(self, url: str, headers: Mapping[str, str]) -> Reply:
        return (await self._client.headers("HEAD", url, headers, None))[-1]

    def _signed(self, method: Method, url: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
        if self.keys is None:
            return f"{url}?{encoded(query)}" if query else url
        return presigned(method, url, self.keys, self._bucket.region, time.time(), _SECONDS, query, headers)

    async def _error(self, reply: Reply) -> ProvisionError:
        return self._explained(await self._answer(reply), reply, str(self._ref))

    def _explained(self, answer: S3Answer, reply: Reply, subject: str) -> ProvisionError:
        own_key = self.keys is not None and self.keys.expires is not None
        asked = S3Request(subject, self._ref.bucket, str(reply.origin), self.keys is not None, own_key)
        return s3_error(answer, asked, time.time())

    async def _answer(self, reply: Reply) -> S3Answer:
        try:
            body = await read_body(reply, _MAX_ERROR_BYTES, _MAX_ERROR_BYTES)
        except (Malformed, TooLarge):
            body = b""
        return parse_error(reply.status, reply.headers, body)

    def _malformed(self, sent: str) -> SourceUnavailable:
        return malformed(Origin.of(self._bucket.url), sent, self._ref)


def _in_order(parts: Sequence[tuple[int, int, bytes]]) -> UploadParts | None:
    """`parts` are numbers, sizes and digests. None if a number is not higher than the one before it."""
    numbers, sizes, digests = zip(*parts, strict=True)
    ascending = all(one < following for one, following in pairwise(numbers))
    return UploadParts.of(sizes, b"".join(digests)) if ascending else None


def malformed(origin: Origin, sent: str, ref: S3Ref) -> SourceUnavailable:
    return no_answer_of("an S3 server", origin, sent, ref)
