"""The API of ModelScope for the repositories of the hub, as `modelscope_hub` 0.5.1 and `modelscope` 1.30 read it.

Called by `origins`. Each repository of the hub is there as well, with `main` as its `master`. A listing is cut off
without a word, unknown parameters and unknown tokens are ignored, and what is missing and what is refused have the same
status. Files with LFS redirect to the content host; the others ignore ranges.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web

from tests.support.hub.api import bearer, folders
from tests.support.hub.bodies import send_file
from tests.support.hub.content import content_path
from tests.support.hub.repositories import Commit, Repository, StoredFile
from tests.support.hub.state import State

NOT_FOUND = 10010205001
NO_ACCESS = 10010200001
_MASTER, _MAIN = "master", "main"
_MASK = "*" * 64
_TAG_OBJECT = "f" * 40
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ModelScopeApi:
    def __init__(self, state: State) -> None:
        self._state = state

    def routes(self) -> list[web.RouteDef]:
        model = "/api/v1/models/{owner}/{name}"
        return [
            web.get(f"{model}/repo/files", _answering(self._files)),
            web.get(f"{model}/commits", _answering(self._commits)),
            web.get(f"{model}/repo", _answering(self._file)),
            web.get("/openapi/v1/users/me", self._me),
            web.get("/{owner}/{name}.git/info/refs", self._refs),
        ]

    async def _files(self, request: web.Request) -> web.StreamResponse:
        repository = self._listed(request)
        commit = _commit(repository, request.query.get("Revision", _MASTER))
        recursive = request.query.get("Recursive", "").lower() == "true"
        root = request.query.get("Root", "").strip("/")
        entries = _entries(commit, root, recursive=recursive, masked=not _may_read(repository, request))
        if root and not entries:
            raise _Refused(NOT_FOUND, "the path does not exist")
        return _success({"Files": entries[: self._state.modelscope.most_listed] or None})

    async def _commits(self, request: web.Request) -> web.StreamResponse:
        repository = self._listed(request)
        ref = _MASTER if self._state.modelscope.ignores_ref else request.query.get("Ref", _MASTER)
        commit = _commit(repository, ref)
        found = {"Id": commit.sha, "ShortId": commit.sha[:8], "Title": "Add files", "Message": "Add files\n"}
        return _success({"Commit": [found], "TotalCount": 1})

    async def _file(self, request: web.Request) -> web.StreamResponse:
        repository = self._listed(request)
        if not _may_read(repository, request):
            raise _Refused(NO_ACCESS, "no access to this model")
        commit = _commit(repository, request.query.get("Revision", _MASTER))
        file = commit.files.get(request.query.get("FilePath", ""))
        if file is None:
            raise _Refused(NOT_FOUND, "the file does not exist")
        if request.method == "HEAD":
            return web.Response(headers={"Content-Length": str(file.size)})
        if file.is_lfs:
            return self._redirect(repository, file)
        return await send_file(self._state, request, file, file.oid, {}, ranges=False)

    def _redirect(self, repository: Repository, file: StoredFile) -> web.Response:
        address = self._state.signer.sign(self._state.content_origin, content_path(repository.name, file))
        return web.Response(status=302, headers={"Location": address, "X-Linked-ETag": f'"{file.sha256}"'})

    async def _me(self, request: web.Request) -> web.Response:
        if bearer(request) not in self._state.repositories.known_tokens:
            return web.json_response({"code": "InvalidAuthentication", "message": "invalid token"}, status=401)
        return web.json_response({"success": True, "data": {"username": "reader"}})

    async def _refs(self, request: web.Request) -> web.Response:
        if not request.headers.get("User-Agent", "").startswith("git/"):
            return web.Response(status=421)
        repository = self._state.repositories.get(_name(request))
        if repository is None or repository.private or not self._state.modelscope.serves_git:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        packets = "".join(f"{len(line) + 4:04x}{line}" for line in _ref_lines(repository))
        return web.Response(body=f"001e# service=git-upload-pack\n0000{packets}0000".encode())

    def _listed(self, request: web.Request) -> Repository:
        repository = self._state.repositories.get(_name(request))
        if repository is None:
            raise _Refused(NOT_FOUND, "the model does not exist")
        if repository.private and bearer(request) not in repository.tokens:
            raise _Refused(NO_ACCESS, "no access to this model")
        return repository


def _answering(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except _Refused as refused:
            body = {"Code": refused.code, "Message": str(refused), "RequestId": "test", "Success": False}
            return web.json_response(body, status=404)

    return answer


def _success(data: dict[str, object]) -> web.Response:
    return web.json_response({"Code": 200, "Data": data, "Message": "success", "RequestId": "test", "Success": True})


def _entries(commit: Commit, root: str, *, recursive: bool, masked: bool) -> list[dict[str, object]]:
    prefix = f"{root}/" if root else ""
    files = [file for file in commit.files.values() if file.path.startswith(prefix)]
    directories = folders((file.path for file in files), prefix)
    if not recursive:
        files = [file for file in files if "/" not in file.path.removeprefix(prefix)]
        directories = [path for path in directories if "/" not in path.removeprefix(prefix)]
    trees = [_entry(path, "tree", 0, "") for path in directories]
    return trees + [_entry(file.path, "blob", file.size, _MASK if masked else file.sha256) for file in files]


def _entry(path: str, kind: str, size: int, sha256: str) -> dict[str, object]:
    name = path.rpartition("/")[2]
    return {"Name": name, "Path": path, "Type": kind, "Size": size, "Sha256": sha256, "Mode": "33188"}


def _ref_lines(repository: Repository) -> list[str]:
    """The tags are annotated: each is an object of its own, whose commit follows it."""
    branches = {_MASTER if name == _MAIN else name: sha for name, sha in repository.branches.items()}
    tags = [f"{_TAG_OBJECT} refs/tags/{name}\n{sha} refs/tags/{name}^{{}}\n" for name, sha in repository.tags.items()]
    return [
        f"{repository.commit} HEAD\0multi_ack symref=HEAD:refs/heads/master\n",
        *(f"{sha} refs/heads/{name}\n" for name, sha in sorted(branches.items())),
        *(f"{line}\n" for tag in sorted(tags) for line in tag.splitlines()),
    ]


def _commit(repository: Repository, revision: str) -> Commit:
    commit = repository.find(_MAIN if revision == _MASTER else revision)
    if commit is None:
        raise _Refused(NOT_FOUND, "the revision does not exist")
    return commit


def _may_read(repository: Repository, request: web.Request) -> bool:
    return not repository.gated or bearer(request) in repository.tokens


def _name(request: web.Request) -> str:
    return f"{request.match_info['owner']}/{request.match_info['name']}"
