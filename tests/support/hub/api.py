"""The metadata endpoints under `/api/models`, in the shapes that `huggingface_hub` 2.4 reads (hf_api.py)."""

import base64
import hashlib
import json
from collections.abc import Iterable
from pathlib import PurePosixPath

from aiohttp import web

from tests.support.hub.access import Refusal, Refused, commit_of
from tests.support.hub.repositories import Commit, Repository, StoredFile
from tests.support.hub.state import State

_MASK = "*" * 64
_WHEN = "2026-01-02T03:04:05.000Z"


def bearer(request: web.Request) -> str | None:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" and token else None


class Api:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        model = "/api/models/{owner}/{name}"
        return [
            web.get(model, self._model),
            web.get(f"{model}/revision/{{revision}}", self._model),
            web.get(f"{model}/tree/{{revision}}", self._tree),
            web.get(f"{model}/tree/{{revision}}/{{path:.+}}", self._tree),
            web.get(f"{model}/refs", self._refs),
            web.get(f"{model}/auth-check", self._auth_check),
            web.post(f"{model}/paths-info/{{revision}}", self._paths_info),
        ]

    async def _model(self, request: web.Request) -> web.Response:
        repository = self._listed(request)
        commit = commit_of(repository, request.match_info.get("revision", "main"))
        blobs = request.query.get("blobs", "").lower() == "true"
        info = _model_info(repository, commit, blobs=blobs, masked=_is_masked(repository, request))
        if expand := request.query.getall("expand", []):
            info = {name: info[name] for name in ("_id", "id", *expand) if name in info}
        return web.json_response({name: value for name, value in info.items() if name not in repository.omits})

    async def _tree(self, request: web.Request) -> web.Response:
        repository = self._listed(request)
        commit = commit_of(repository, request.match_info["revision"])
        folder = request.match_info.get("path", "").strip("/")
        recursive = request.query.get("recursive", "").lower() == "true"
        entries = _entries(commit, folder, recursive=recursive, masked=_is_masked(repository, request))
        if folder and not entries:
            raise Refused(Refusal(404, "EntryNotFound", f"{folder} does not exist on {commit.sha}"))
        return self._page(request, entries)

    def _page(self, request: web.Request, entries: list[dict[str, object]]) -> web.Response:
        limit = min(int(request.query.get("limit", self._state.tree_page_size)), self._state.tree_page_size)
        start = _cursor_position(request.query.get("cursor"), entries)
        page, rest = entries[start : start + limit], entries[start + limit :]
        headers = {}
        if rest:
            following = request.rel_url.update_query(limit=str(limit), cursor=_cursor(page[-1]))
            headers["Link"] = f'<{self._state.endpoint}{following}>; rel="next"'
        return web.json_response(page, headers=headers)

    async def _refs(self, request: web.Request) -> web.Response:
        repository = self._listed(request)
        return web.json_response(
            {
                "branches": _refs("refs/heads/", repository.branches),
                "tags": _refs("refs/tags/", repository.tags),
                "converts": [],
            }
        )

    async def _auth_check(self, request: web.Request) -> web.Response:
        self._state.repositories.readable(_name(request), bearer(request))
        return web.Response()

    async def _paths_info(self, request: web.Request) -> web.Response:
        repository = self._listed(request)
        commit = commit_of(repository, request.match_info["revision"])
        wanted = {str(path).strip("/") for path in (await request.post()).getall("paths", [])}
        entries = _entries(commit, "", recursive=True, masked=_is_masked(repository, request))
        return web.json_response([entry for entry in entries if entry["path"] in wanted])

    def _listed(self, request: web.Request) -> Repository:
        return self._state.repositories.listed(_name(request), bearer(request))


def _name(request: web.Request) -> str:
    return f"{request.match_info['owner']}/{request.match_info['name']}"


def _is_masked(repository: Repository, request: web.Request) -> bool:
    """Whether the caller may list the files of a gated repository, and not know their digests."""
    return repository.gated and bearer(request) not in repository.tokens


def _model_info(repository: Repository, commit: Commit, *, blobs: bool, masked: bool) -> dict[str, object]:
    siblings = [_sibling(file, blobs=blobs, masked=masked) for file in commit.files.values()]
    return {
        "_id": hashlib.sha1(repository.name.encode(), usedforsecurity=False).hexdigest()[:24],
        "id": repository.name,
        "modelId": repository.name,
        "author": repository.name.partition("/")[0],
        "sha": commit.sha,
        "lastModified": _WHEN,
        "createdAt": _WHEN,
        "private": repository.private,
        "gated": "manual" if repository.gated else False,
        "disabled": repository.disabled,
        "downloads": 0,
        "likes": 0,
        "tags": ["gguf"],
        "siblings": [
            {name: value for name, value in sibling.items() if name not in repository.omits} for sibling in siblings
        ],
    }


def _sibling(file: StoredFile, *, blobs: bool, masked: bool) -> dict[str, object]:
    """The digest's key is `lfs.sha256` here and `lfs.oid` in the tree."""
    if not blobs:
        return {"rfilename": file.path}
    entry: dict[str, object] = {"rfilename": file.path, "size": file.size, "blobId": file.oid}
    if file.is_lfs:
        digest = _MASK if masked else file.sha256
        entry["lfs"] = {"sha256": digest, "size": file.size, "pointerSize": file.pointer_size}
    return entry


def _entries(commit: Commit, folder: str, *, recursive: bool, masked: bool) -> list[dict[str, object]]:
    """Directories before files, each in order of path."""
    prefix = f"{folder}/" if folder else ""
    files = [file for file in commit.files.values() if file.path.startswith(prefix)]
    parents = folders((file.path for file in files), prefix)
    if not recursive:
        files = [file for file in files if "/" not in file.path.removeprefix(prefix)]
        parents = [path for path in parents if "/" not in path.removeprefix(prefix)]
    return [_folder_entry(path) for path in parents] + [_file_entry(file, masked) for file in files]


def folders(paths: Iterable[str], prefix: str) -> list[str]:
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
    return sorted(path for path in parents if path != "." and path.startswith(prefix))


def _folder_entry(path: str) -> dict[str, object]:
    oid = hashlib.sha1(b"tree" + path.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def _file_entry(file: StoredFile, masked: bool) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "oid": file.oid, "size": file.size, "path": file.path}
    if file.is_lfs:
        digest = _MASK if masked else file.sha256
        entry["lfs"] = {"oid": digest, "size": file.size, "pointerSize": file.pointer_size}
        entry["xetHash"] = file.xet_hash
    return entry


def _cursor(last: dict[str, object]) -> str:
    return base64.b64encode(json.dumps({"file_name": last["path"]}).encode()).decode()


def _cursor_position(cursor: str | None, entries: list[dict[str, object]]) -> int:
    if cursor is None:
        return 0
    last = json.loads(base64.b64decode(cursor))["file_name"]
    return next(index for index, entry in enumerate(entries, start=1) if entry["path"] == last)


def _refs(prefix: str, heads: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "ref": f"{prefix}{name}", "targetCommit": sha} for name, sha in sorted(heads.items())]
