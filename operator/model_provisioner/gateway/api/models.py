"""`/v1/models`: what is ready, where a model is, and taking one away. Only what is Ready is ever claimed."""

from aiohttp import web

from model_provisioner.domain.modeldownload import Model, ModelDownload, ReclaimPolicy
from model_provisioner.domain.refs.matching import matching
from model_provisioner.domain.refs.refs import LocalRef, parse_lenient
from model_provisioner.gateway.access import Access
from model_provisioner.gateway.api.documents import Deleting, ModelQuery, Page, ReadyModel
from model_provisioner.gateway.api.lists import listing
from model_provisioner.gateway.api.request_parsing import answer, query
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import object_path


class Models:
    def __init__(self, api: KubeApi, board: Board, access: Access) -> None:
        self._api = api
        self._board = board
        self._access = access

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/v1/models", self.index),
            web.get("/v1/models/local", self.local),
            web.delete("/v1/models", self.delete),
        ]

    async def index(self, request: web.Request) -> web.Response:
        wanted = query(Page, request)
        scope = await self._access.readable(request, "list", wanted.namespace)
        ready = self._board.ready(scope)
        there = [one for one, _ in ready.values()]
        return listing("models", there, wanted, lambda one: self._encoded(*ready[one.uid]))

    async def local(self, request: web.Request) -> web.Response:
        """The path of a model that is there."""
        wanted = query(ModelQuery, request)
        scope = await self._access.readable(request, "list", wanted.namespace)
        ready = self._board.ready(scope)
        found = matching(parse_lenient(wanted.model_ref), [one for one, _ in ready.values()])
        places = {(one.namespace, ready[one.uid][1].claim_name, ready[one.uid][1].path) for one in found}
        if not found:
            detail = f"{wanted.model_ref} is not ready here; POST /v1/models/download fetches it"
            raise Problem(404, "NotFound", detail)
        if len(places) > 1:
            raise _several(found)
        return web.Response(body=self._encoded(*ready[found[0].uid]), content_type="application/json")

    async def delete(self, request: web.Request) -> web.Response:
        """The object and its file, as the caller; refused where that would take a file from somebody else."""
        token = self._access.writer(request)
        wanted = query(ModelQuery, request)
        scope = await self._access.readable(request, "list", wanted.namespace)
        ref = parse_lenient(wanted.model_ref)
        if isinstance(ref, LocalRef):
            raise Problem(409, "LocalModel", f"{ref} is a file that somebody put there; it is never deleted from here")
        known = matching(ref, self._board.all(scope))
        found = [one for one in known if not one.deleting] or known
        if not found:
            raise Problem(404, "NotFound", f"there is no download of {ref}")
        if len(found) > 1:
            raise _several(found)
        download = found[0]
        others = [one for one in self._board.all(download.namespace) if one is not download and _shares(one, download)]
        if others:
            raise _several([download, *others])
        path = object_path(download.namespace, download.name)
        body = {"metadata": {"uid": download.uid}, "spec": {"reclaimPolicy": ReclaimPolicy.DELETE}}
        await self._api.patch(path, body, token=token)
        await self._api.delete(path, {"preconditions": {"uid": download.uid}}, token=token)
        return answer(Deleting(download_id=download.uid), status=202)

    def _encoded(self, download: ModelDownload, model: Model) -> bytes:
        return self._board.encoded(
            download.uid, "model", None, lambda: ReadyModel.of(download, model).model_dump_json().encode()
        )


def _shares(one: ModelDownload, other: ModelDownload) -> bool:
    ours, theirs = one.status.model, other.status.model
    return bool(not one.deleting and ours and theirs and (ours.store_id, ours.path) == (theirs.store_id, theirs.path))


def _several(found: list[ModelDownload]) -> Problem:
    names = [f"{one.namespace}/{one.name}" for one in found]
    detail = (
        f"several downloads hold this model: {', '.join(names)}; name the namespace, or use the downloads' own address"
    )
    listed = [{"download_id": one.uid, "namespace": one.namespace, "name": one.name} for one in found]
    return Problem(409, "AmbiguousModel", detail, more={"downloads": listed})
