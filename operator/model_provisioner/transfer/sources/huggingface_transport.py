"""Lets `huggingface_hub` talk through our own client, so that one guard serves all.

The library's HTTP client is given a transport that hands each request to the event loop. Redirects
are followed by our client, which keeps the token off every origin but the one that it is for: the
library itself follows them, and the `Link` of a paged list, wherever they lead and sends the token.
So a token travels with the origin that it is for, in a header that never leaves this process.
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
"""The header by which whoever gives the library a token says for which origin; without it no token is sent."""
_KEPT_HEADERS = ("User-Agent", "Accept")


def use_client(client: Client) -> None:
    """From now on the library uses `client`, which belongs to the running event loop; call the library in threads."""
    transport = _Transport(client, asyncio.get_running_loop())
    constants.HF_HUB_DISABLE_TELEMETRY = True  # else it asks huggingface.co for a list first, whatever the endpoint is
    set_client_factory(lambda: httpx2.Client(transport=transport, trust_env=False, follow_redirects=False))


class _Transport(httpx2.BaseTransport):
    def __init__(self, client: Client, loop: asyncio.AbstractEventLoop) -> None:
        self._client = client
        self._loop = loop

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Raises what `Client.get` raises; the library lets it pass."""
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
