"""A registry that behaves like Docker Hub's and Ollama's: tokens of a server of its own, blobs at a third host.

The three are on names of their own, so that what is sent to one can be told from what is sent to another. Called by
the tests of `oci:` and `ollama:`.
"""

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.support import registry
from tests.transfer.sources.web import FileServer

SCOPE = "repository:team/tiny:pull,other aws"  # no such scope can be made up: it must be used as it is told
SERVICE = "registry of the tests; v=1"
Answer = tuple[int, dict[str, str], bytes]


@dataclass
class TokenRegistry:
    """`manifests` are by tag and digest, `files` by digest.

    `tokens` False: no login is needed. A token is valid for `uses` requests, and until `lifetime` bytes more were sent;
    `told` is the seconds that it is said to be valid. `login` is what the token server wants (name, password),
    `identity` the refresh token that it exchanges. `basic`: the registry itself wants the login. `realm` replaces the
    address of the token server. `redirects`: blobs are at another host, where an address is good for `content_uses`
    requests. `scripted` are answers by the first word of the path:
    `manifests`, `blobs`, `token`.
    """

    manifests: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, FileServer] = field(default_factory=dict)
    tokens: bool = True
    told: object = 60
    uses: int = 10**9
    lifetime: int = 10**12
    login: tuple[str, str] | None = None
    identity: str | None = None
    basic: bool = False
    realm: str | None = None
    redirects: bool = False
    content_uses: int = 10**9
    scripted: dict[str, Answer] = field(default_factory=dict)
    url: str = ""
    token_url: str = ""
    content_url: str = ""
    log: list[tuple[str, web.Request]] = field(default_factory=list)
    _valid: dict[str, tuple[int, int]] = field(default_factory=dict)
    _content_uses: dict[str, int] = field(default_factory=dict)

    @property
    def host(self) -> str:
        return self.url.removeprefix("http://")

    @property
    def asked_tokens(self) -> int:
        return sum(name == "token" for name, _ in self.log)

    @property
    def sent(self) -> int:
        return sum(server.sent for server in self.files.values())

    def add(self, tag: str, content: bytes, media_type: str = registry.GGUF, **annotations: str) -> str:
        """An artifact of one layer. Returns its digest."""
        layer = registry.descriptor(content, media_type, **annotations)
        self.files[registry.sha256(content)] = FileServer(content)
        return self.put(tag, [layer])

    def put(self, tag: str, layers: Sequence[registry.Document], config: bytes = b"{}", **more: object) -> str:
        self.files.setdefault(registry.sha256(config), FileServer(config))
        described = registry.descriptor(config, "application/vnd.docker.container.image.v1+json")
        return self.put_raw(tag, registry.manifest(layers, described, **more))

    def put_raw(self, tag: str, body: bytes) -> str:
        digest = registry.sha256(body)
        self.manifests[tag] = self.manifests[digest] = body
        return digest

    def requests(self, name: str) -> list[web.Request]:
        """Those to `registry`, `token` or `content`."""
        return [request for where, request in self.log if where == name]

    async def at_registry(self, request: web.Request) -> web.StreamResponse:
        self.log.append(("registry", request))
        kind, reference = request.path.rsplit("/", 2)[1:]
        if scripted := self.scripted.get(kind):
            return _response(scripted)
        if refused := self._refusal(request):
            return refused
        if request.path == "/v2/":
            return web.json_response({})
        if kind == "blobs":
            return await self._blob(request, reference)
        body = self.manifests.get(reference)
        if body is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        return web.Response(body=body, headers={"Content-Type": json.loads(body)["mediaType"]})

    def _refusal(self, request: web.Request) -> web.Response | None:
        sent = request.headers.get("Authorization", "")
        if self.basic and sent != _basic(self.login):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="models", charset="UTF-8"'})
        if self.basic or not self.tokens:
            return None
        until, uses = self._valid.get(sent, (0, 0))
        if self.sent < until and uses:
            self._valid[sent] = (until, uses - 1)
            return None
        realm = self.realm or f"{self.token_url}/token?of=tests"
        challenge = f'Bearer realm="{realm}",service="{SERVICE}",scope="{SCOPE}",error="invalid_token"'
        return web.Response(status=401, headers={"WWW-Authenticate": challenge})

    async def _blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        if digest not in self.files:
            return web.Response(status=404)
        if self.redirects:
            signature = f"signed-{len(self._content_uses):06}"
            self._content_uses[signature] = self.content_uses
            return web.Response(status=307, headers={"Location": f"{self.content_url}/{digest}?sig={signature}"})
        return await self.files[digest].answer(request)

    async def at_token_server(self, request: web.Request) -> web.StreamResponse:
        self.log.append(("token", request))
        if scripted := self.scripted.get("token"):
            return _response(scripted)
        asked = await request.post() if request.method == "POST" else request.query
        if asked.get("scope") != SCOPE or asked.get("service") != SERVICE:
            return web.Response(status=400)
        if request.method == "POST":
            if refused := self._refused_grant(asked):
                return refused
        elif (self.login or self.identity) and request.headers.get("Authorization") != _basic(self.login):
            return web.json_response({"details": "incorrect username or password"}, status=401)
        token = f"canary-token-{len(self._valid):06}"
        self._valid[f"Bearer {token}"] = (self.sent + self.lifetime, self.uses)
        return web.json_response({"access_token": token, "expires_in": self.told})

    def _refused_grant(self, asked: Mapping[str, object]) -> web.Response | None:
        """As spec/auth/oauth.md of distribution says, and RFC 6749, 5.2."""
        if asked.get("grant_type") != "refresh_token" or not asked.get("client_id"):
            return web.json_response({"error": "invalid_request"}, status=400)
        if self.identity is None or asked.get("refresh_token") != self.identity:
            return web.json_response({"error": "invalid_grant"}, status=400)
        return None

    async def at_content_host(self, request: web.Request) -> web.StreamResponse:
        self.log.append(("content", request))
        if "Authorization" in request.headers:
            return web.Response(status=400)  # as S3 does, for two ways to log in
        signature = request.query["sig"]
        if not self._content_uses[signature]:
            return web.Response(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
        self._content_uses[signature] -= 1
        return await self.files[request.path.removeprefix("/")].answer(request)


@asynccontextmanager
async def token_registry() -> AsyncIterator[TokenRegistry]:
    served = TokenRegistry()
    async with AsyncExitStack() as stack:

        async def start(handler: object, host: str) -> str:
            application = web.Application()
            application.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type] # a handler
            url = (await stack.enter_async_context(TestServer(application))).make_url("")
            return str(url.with_host(host)).rstrip("/")

        served.url = await start(served.at_registry, "127.0.0.1")
        served.token_url = await start(served.at_token_server, "localhost")
        served.content_url = await start(served.at_content_host, "localhost")
        yield served


def _basic(login: tuple[str, str] | None) -> str:
    return "Basic " + base64.b64encode(":".join(login or ("", "")).encode()).decode()


def _response(answer: Answer) -> web.Response:
    status, headers, body = answer
    return web.Response(status=status, headers=headers, body=body)
