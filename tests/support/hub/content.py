"""The content host: LFS files at signed URLs, on its own origin.

As the object stores behind the real hub, it answers errors in XML and refuses a request with both a signature and an
Authorization header, so that a client that leaks its token fails.
"""

from aiohttp import web

from tests.support.hub.bodies import send_file
from tests.support.hub.repositories import StoredFile
from tests.support.hub.state import State

_CACHED = {
    "Cache-Control": "public, max-age=31536000",
    "Content-Disposition": "inline",
    "X-Cache": "Hit from cloudfront",
}


def content_path(repository: str, file: StoredFile) -> str:
    return f"/{repository}/{file.sha256}/{file.path}"


def content_error(status: int, code: str, message: str) -> web.Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=body, content_type="application/xml")


class Content:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/{owner}/{name}/{sha256:[0-9a-f]{64}}/{path:.+}", self._get)]

    async def _get(self, request: web.Request) -> web.StreamResponse:
        if "Authorization" in request.headers:
            return content_error(400, "InvalidArgument", "Only one auth mechanism allowed")
        verdict = self._state.signer.verify(request.path, request.query)
        if verdict == "forged":
            return content_error(403, "SignatureDoesNotMatch", "The signature does not match the request")
        if verdict == "expired":
            return content_error(403, "AccessDenied", "Request has expired")
        part = request.match_info
        repository = self._state.repositories.get(f"{part['owner']}/{part['name']}")
        file = repository.blob(part["sha256"], part["path"]) if repository else None
        if file is None:
            return content_error(404, "NoSuchKey", "The specified key does not exist")
        return await send_file(self._state, request, file, file.xet_hash, _CACHED)
