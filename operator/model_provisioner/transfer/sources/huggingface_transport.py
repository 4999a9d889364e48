"""Makes `huggingface_hub` send its requests through `transfer.http`, so that one address guard covers all requests.

The library's HTTP client gets a transport that passes each request to the event loop. Our client follows redirects and
sends the token only to the origin that it is for. The library itself would send it to any host that a redirect, or the
`Link` header of a paged list, names. So each request carries the token's origin in a header that is not sent on.
Called by `resolver` and `huggingface`; no request is made here on our own account.
"""

import asyncio

import httpx2
from huggingface_hub import constants, set_client_factory

from model_provisioner.domain.errors import SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.transfer.http.client import Client

_MAX_BYTES = 64 * 1024 * 1024
ORIGIN_HEADER = "X-Token-Origin"
"""The request header with the origin that the token is for. Without it no token is sent."""
_KEPT_HEADERS = ("User-Agent", "Accept")


def use_client(client: Client) -> None:
    """Makes the library use `client`, which belongs to the running event loop. Call the library only in threads."""
    transport = _Transport(client, asyncio.get_running_loop())
    constants.HF_HUB_DISABLE_TELEMETRY = True  # else it first requests a list from huggingface.co, for any endpoint
    set_client_factory(lambda: httpx2.Client(transport=transport, trust_env=False, follow_redirects=False))


class _Transport(httpx2.BaseTransport):
    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Blocks until the response is read. Raises as `Client.get` does; the library does not catch that."""
        return asyncio.run_coroutine_threadsafe(self._send(request), self._loop).result()

    async def _send(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        if request.method != "GET":
            raise SourceUnavailable(f"a {request.method} was about to be sent to {Origin.of(url)}: nothing here writes")
        headers = {name: request.headers[name] for name in _KEPT_HEADERS if name in request.headers}
        async with await self._client.get(url, headers, _credentials(request)) as reply:
            content = bytearray()
            async for chunk in reply.chunks():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise SourceUnavailable(f"{reply.origin} answers with more than a model's description can be")
            return httpx2.Response(reply.status, headers=dict(reply.headers), content=bytes(content), request=request)


def _credentials(request: httpx2.Request) -> Credentials | None:
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    origin = request.headers.get(ORIGIN_HEADER)
    return Credentials(token, (origin,)) if token and origin else None
