"""`/v1/models`: lists the models that are Ready, and deletes one with its files. `local` finds one.

Reads come from the board; writes go to the API server with the caller's own token.
"""

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.modeldownload import ModelDownload, ReclaimPolicy
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.matching import is_from, matching
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.api.documents import Deleting
from model_provisioner.gateway.api.found import ambiguous, elsewhere, encoded
from model_provisioner.gateway.api.lists import list_response
from model_provisioner.gateway.api.queries import ModelQuery, Page
from model_provisioner.gateway.api.request_parsing import json_response, parse_query
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import object_path


class Models:
    """The handlers of the calls about models."""

    def __init__(self, api: KubeApi, board: Board, authorizer: Authorizer) -> None:
        self._api = api
        self._board = board
        self._authorizer = authorizer

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `calls`."""
        return {"listModels": self.list_models, "deleteModel": self.delete_model}

    async def list_models(self, request: web.Request) -> web.Response:
        """Raises Problem (400, 401, 403), ApiError."""
        query = parse_query(Page, request)
        ready = self._board.ready(await self._authorizer.readable_namespace(request, "list", query.namespace))
        downloads = [download for download, _ in ready.values()]
        return list_response("models", downloads, query, lambda download: encoded(self._board, *ready[download.uid]))

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
            raise Problem(404, "NotFound", f"there is no download of {ref}{elsewhere(named)}")
        if len(found) > 1:
            raise ambiguous(found)
        download = found[0]
        sharing = [
            other
            for other in self._board.all(download.namespace)
            if other is not download and _has_same_files(other, download)
        ]
        if sharing:
            raise ambiguous([download, *sharing])
        path = object_path(download.namespace, download.name)
        body = {"metadata": {"uid": download.uid}, "spec": {"reclaimPolicy": ReclaimPolicy.DELETE}}
        await self._api.patch(path, body, token=token)
        await self._api.delete(path, {"preconditions": {"uid": download.uid}}, token=token)
        return json_response(Deleting(download_id=download.uid), status=202)


def _has_same_files(download: ModelDownload, other: ModelDownload) -> bool:
    """False if `download` is being deleted: it does not keep its files."""
    model, other_model = download.status.model, other.status.model
    if download.deleting or not (model and other_model):
        return False
    return (model.store_id, model.path) == (other_model.store_id, other_model.path)
