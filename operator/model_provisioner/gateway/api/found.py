"""What several calls say of the models and downloads that a ref matches. Called by `models` and `local`.

Which those are is decided in `domain.refs.matching`.
"""

from collections.abc import Iterable, Sequence

from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.stream import message_of, state_of
from model_provisioner.gateway.api.documents import ReadyModel
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem

_MOST_HUBS = 3
_MOST_NAMED = 3
_MOST_LISTED = 100


def encoded(board: Board, download: ModelDownload, model: Model) -> bytes:
    """The JSON of a model that is Ready, which `board` keeps until the download changes."""
    return board.encoded(download.uid, "model", None, lambda: ReadyModel.of(download, model).model_dump_json().encode())


def elsewhere(known: Iterable[ModelDownload]) -> str:
    """Which other hubs have downloads of the same ref, as the end of a message."""
    hubs = sorted({download.spec.endpoint for download in known if download.spec.endpoint})
    return f" (there is one from {', '.join(hubs[:_MOST_HUBS])}: name it as `endpoint`)" if hubs else ""


def not_ready(ref: str, known: Sequence[ModelDownload], end: str) -> Problem:
    """There is no Ready model of `ref`; `known` are its downloads. `end` ends the message."""
    states = [f"{each.namespace}/{each.name} is {state_of(each)} ({message_of(each)})" for each in known[:_MOST_NAMED]]
    detail = f"{ref} is not ready here; {', '.join(states) or 'POST /v1/models/download fetches it'}{end}"
    return Problem(404, "NotFound", detail, more={"downloads": [_named(download) for download in known[:_MOST_LISTED]]})


def ambiguous(found: Sequence[ModelDownload]) -> Problem:
    names = [f"{download.namespace}/{download.name}" for download in found[:_MOST_LISTED]]
    detail = (
        f"several downloads hold this model: {', '.join(names)}; name the namespace, or use the downloads' own address"
    )
    return Problem(
        409, "AmbiguousModel", detail, more={"downloads": [_named(download) for download in found[:_MOST_LISTED]]}
    )


def _named(download: ModelDownload) -> dict[str, str]:
    return {
        "download_id": download.uid,
        "namespace": download.namespace,
        "name": download.name,
        "state": state_of(download),
    }
