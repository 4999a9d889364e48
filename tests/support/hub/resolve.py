"""`/resolve/`: redirects from a repository, a revision and a path to the file.

An LFS file is a 302 to a signed URL on the content host; the headers of the redirect have size and digest of the file,
and its Content-Length is that of its own text. A small git file is a relative 307 to a cache on this origin; it is
served at once if its repository is private or gated, or if it is empty.
"""

from urllib.parse import quote

from aiohttp import web

from tests.support.hub.access import commit_of, file_of
from tests.support.hub.api import bearer
from tests.support.hub.bodies import send_file
from tests.support.hub.content import content_path
from tests.support.hub.repositories import Commit, Repository, StoredFile
from tests.support.hub.state import State


class Resolve:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/{owner}/{name}/resolve/{revision}/{path:.+}", self._resolve),
            web.get("/api/resolve-cache/models/{owner}/{name}/{revision}/{path:.+}", self._cached),
        ]

    async def _resolve(self, request: web.Request) -> web.StreamResponse:
        repository, commit, file = self._find(request)
        if file.is_lfs:
            return self._redirect_to_content(repository, commit, file)
        if repository.private or repository.gated or file.size == 0:
            return await self._serve(request, commit, file)
        return _redirect_to_cache(repository, commit, file)

    async def _cached(self, request: web.Request) -> web.StreamResponse:
        _, commit, file = self._find(request)
        return await self._serve(request, commit, file)

    def _find(self, request: web.Request) -> tuple[Repository, Commit, StoredFile]:
        part = request.match_info
        repository = self._state.repositories.readable(f"{part['owner']}/{part['name']}", bearer(request))
        commit = commit_of(repository, part["revision"])
        return repository, commit, file_of(commit, part["path"])

    async def _serve(self, request: web.Request, commit: Commit, file: StoredFile) -> web.StreamResponse:
        return await send_file(self._state, request, file, file.oid, {"X-Repo-Commit": commit.sha})

    def _redirect_to_content(self, repository: Repository, commit: Commit, file: StoredFile) -> web.Response:
        address = self._state.signer.sign(self._state.content_origin, content_path(repository.name, file))
        xet_token = f"{self._state.endpoint}/api/models/{repository.name}/xet-read-token/{commit.sha}"
        xet_file = f"{self._state.endpoint}/v1/reconstructions/{file.xet_hash}"
        headers = {
            "Location": address,
            "X-Repo-Commit": commit.sha,
            "X-Linked-Size": str(file.size),
            "X-Linked-ETag": f'"{file.sha256}"',
            "X-Xet-Hash": file.xet_hash,
            "Link": f'<{xet_token}>; rel="xet-auth", <{xet_file}>; rel="xet-reconstruction-info"',
            "Accept-Ranges": "bytes",
            "Cache-Control": "no-store",
        }
        return web.Response(status=302, headers=headers, text=f"Found. Redirecting to {address}")


def _redirect_to_cache(repository: Repository, commit: Commit, file: StoredFile) -> web.Response:
    path = quote(f"/api/resolve-cache/models/{repository.name}/{commit.sha}/{file.path}")
    etag = f'"{file.oid}"'
    location = f"{path}?etag={quote(etag)}"
    headers = {"Location": location, "X-Repo-Commit": commit.sha, "ETag": etag}
    return web.Response(status=307, headers=headers, text=f"Temporary Redirect. Redirecting to {location}")
