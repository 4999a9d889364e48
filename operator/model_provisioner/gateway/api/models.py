"""`/v1/models`: lists the models that are Ready, finds one of them, and deletes one with its files.

Reads come from the board; writes go to the API server with the caller's own token.
"""

from collections.abc import Iterable

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.modeldownload import Model, ModelDownload, ReclaimPolicy
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.matching import is_from, matching
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.api.documents import Deleting, ModelQuery, Page, ReadyModel
from model_provisioner.gateway.api.lists import list_response
from model_provisioner.gateway.api.request_parsing import json_response, parse_query
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import object_path

_MOST_HUBS = 3


class Models:
    """The handlers of the calls about models."""

    def __init__(self, api: KubeApi, board: Board, authorizer: Authorizer) -> None:
        self._api = api
        self._board = board
        self._authorizer = authorizer

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `calls`."""
        return {"listModels": self.list_models, "findModel": self.find_model, "deleteModel": self.delete_model}

    async def list_models(self, request: web.Request) -> web.Response:
        """Raises Problem (400, 401, 403), ApiError."""
        query = parse_query(Page, request)
        ready = self._board.ready(await self._authorizer.readable_namespace(request, "list", query.namespace))
        downloads = [download for download, _ in ready.values()]
        return list_response("models", downloads, query, lambda download: self._encoded(*ready[download.uid]))

    async def find_model(self, request: web.Request) -> web.Response:
        """The one model that matches a ref. If several downloads have its file, one with a projector is preferred.

        Raises Problem (400, 401, 403, 404, or 409 if there is more than one file), ApiError, InvalidRef,
        UnsupportedSource.
        """
        query = parse_query(ModelQuery, request)
        ready = self._board.ready(await self._authorizer.readable_namespace(request, "list", query.namespace))
        known = matching(parse_lenient(query.model_ref), [download for download, _ in ready.values()])
        found = [download for download in known if is_from(query.endpoint, download)]
        entries = [ready[download.uid] for download in found]
        files = {(download.namespace, model.claim_name, model.path) for download, model in entries}
        if not found:
            detail = f"{query.model_ref} is not ready here; POST /v1/models/download fetches it"
            raise Problem(404, "NotFound", detail + _elsewhere(known))
        if len(files) > 1:
            raise _ambiguous(found)
        best = next((entry for entry in entries if entry[1].projector), entries[0])
        return web.Response(body=self._encoded(*best), content_type="application/json")

    async def delete_model(self, request: web.Request) -> web.Response:
        """Deletes the object and its files as the caller. Refused if another download has the same files.

        Raises Problem (400, 401, 403, 404, 409), ApiError, InvalidRef, UnsupportedSource.
        """
        token = self._authorizer.write_token(request)
        query = parse_query(ModelQuery, request)
        namespace = await self._authorizer.readable_namespace(request, "list", query.namespace)
        ref = parse_lenient(query.model_ref)
        if isinstance(ref, LocalRef):
            raise Problem(
                409, "LocalModel", f"{ref} is a file that was put on the volume by hand; it is never deleted from here"
            )
        named = matching(ref, self._board.all(namespace))
        known = [download for download in named if is_from(query.endpoint, download)]
        found = [download for download in known if not download.deleting] or known
        if not found:
            raise Problem(404, "NotFound", f"there is no download of {ref}{_elsewhere(named)}")
        if len(found) > 1:
            raise _ambiguous(found)
        download = found[0]
        sharing = [
            other
            for other in self._board.all(download.namespace)
            if other is not download and _has_same_files(other, download)
        ]
        if sharing:
            raise _ambiguous([download, *sharing])
        path = object_path(download.namespace, download.name)
        body = {"metadata": {"uid": download.uid}, "spec": {"reclaimPolicy": ReclaimPolicy.DELETE}}
        await self._api.patch(path, body, token=token)
        await self._api.delete(path, {"preconditions": {"uid": download.uid}}, token=token)
        return json_response(Deleting(download_id=download.uid), status=202)

    def _encoded(self, download: ModelDownload, model: Model) -> bytes:
        return self._board.encoded(
            download.uid, "model", None, lambda: ReadyModel.of(download, model).model_dump_json().encode()
        )


def _has_same_files(download: ModelDownload, other: ModelDownload) -> bool:
    """False if `download` is being deleted: it does not keep its files."""
    model, other_model = download.status.model, other.status.model
    if download.deleting or not (model and other_model):
        return False
    return (model.store_id, model.path) == (other_model.store_id, other_model.path)


def _elsewhere(known: Iterable[ModelDownload]) -> str:
    """Which other hubs have downloads of the same ref, as the end of a message."""
    hubs = sorted({download.spec.endpoint for download in known if download.spec.endpoint})
    return f" (there is one from {', '.join(hubs[:_MOST_HUBS])}: name it as `endpoint`)" if hubs else ""


def _ambiguous(found: list[ModelDownload]) -> Problem:
    names = [f"{download.namespace}/{download.name}" for download in found]
    detail = (
        f"several downloads hold this model: {', '.join(names)}; name the namespace, or use the downloads' own address"
    )
    downloads = [
        {"download_id": download.uid, "namespace": download.namespace, "name": download.name} for download in found
    ]
    return Problem(409, "AmbiguousModel", detail, more={"downloads": downloads})
