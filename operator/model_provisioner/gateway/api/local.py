"""`GET /v1/models/local`: finds the model that a ref means, and waits for it if the caller wants that.

A request that waits costs what an event stream costs, so both share their limits, and the right to read is checked
again as for a stream. The board wakes it; nothing is polled.
"""

import time
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.refs.matching import is_from, matching
from model_provisioner.domain.refs.refs import parse_lenient
from model_provisioner.domain.stream import has_ended
from model_provisioner.gateway.access import Authorizer, Grant
from model_provisioner.gateway.api.found import ambiguous, elsewhere, encoded, not_ready
from model_provisioner.gateway.api.queries import LocalQuery
from model_provisioner.gateway.api.request_parsing import parse_query
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.limiter import StreamLimiter
from model_provisioner.gateway.problems import Problem

_LONGEST_SLEEP_SECONDS = 15.0
"""After that the right to read is looked at again, as at each heartbeat of a stream."""


class LocalModel:
    """The handler of the call. `monotonic` is a clock in seconds; `longest_sleep` is in seconds."""

    def __init__(
        self,
        board: Board,
        authorizer: Authorizer,
        limiter: StreamLimiter,
        monotonic: Callable[[], float] = time.monotonic,
        longest_sleep: float = _LONGEST_SLEEP_SECONDS,
    ) -> None:
        self._board = board
        self._authorizer = authorizer
        self._limiter = limiter
        self._monotonic = monotonic
        self._longest_sleep = longest_sleep
        self._closing = False

    def handlers(self) -> dict[str, Handler]:
        """By operation id, see `calls`."""
        return {"findModel": self.find_model}

    async def close(self, _app: web.Application) -> None:
        """Answers all requests that wait (`on_shutdown`): otherwise the server waits for them when it stops."""
        self._closing = True
        self._board.wake()

    async def find_model(self, request: web.Request) -> web.Response:
        """The one model that matches a ref. If several downloads have its file, one with a projector is preferred.

        Raises Problem (400, 401, 403, 404, 409 if there is more than one file, 429, 503), ApiError, InvalidRef,
        UnsupportedSource.
        """
        query = parse_query(LocalQuery, request)
        if not query.wait:
            readable = await self._authorizer.readable_namespace(request, "list", query.namespace)
            return self._look(_Wanted(query, readable))
        grant = await self._authorizer.grant(request, None, "list", query.namespace)
        with self._limiter.acquire(grant.identity):
            return await self._wait(_Wanted(query, grant.namespace), grant, self._monotonic() + query.wait)

    async def _wait(self, wanted: "_Wanted", grant: Grant, deadline: float) -> web.Response:
        """Looks again when a download that may be the model has ended, until `deadline`. Raises what `_look` does."""
        with self._board.subscribe(wanted.may_decide) as subscription:
            decided = self._is_decided(wanted)
            while not self._closing:
                left = deadline - self._monotonic()
                if left <= 0 or decided:
                    return self._look(wanted)
                changed = await subscription.wait(min(left, self._longest_sleep))
                if not await grant.is_valid():
                    raise Problem(403, "Forbidden", "this token may not list these downloads any longer")
                decided = bool(changed) and self._is_decided(wanted)
        raise Problem(503, "NotReady", "the gateway stops; ask again", headers={"Retry-After": "1"})

    def _is_decided(self, wanted: "_Wanted") -> bool:
        """Whether waiting longer brings nothing: the model is ready, or each download of it has stalled."""
        ready = [download for download, _ in self._board.ready(wanted.namespace).values()]
        known = wanted.of(self._board.all(wanted.namespace))
        return bool(wanted.of(ready)) or (bool(known) and all(map(has_ended, known)))

    def _look(self, wanted: "_Wanted") -> web.Response:
        """Raises Problem (404, 409)."""
        ready = self._board.ready(wanted.namespace)
        known = wanted.named([download for download, _ in ready.values()])
        found = wanted.of(known)
        if not found:
            downloads = wanted.named(self._board.all(wanted.namespace))
            raise not_ready(wanted.text, wanted.of(downloads), elsewhere(known))
        entries = [ready[download.uid] for download in found]
        files = {(download.namespace, model.claim_name, model.path) for download, model in entries}
        if len(files) > 1:
            raise ambiguous(found)
        best = next((entry for entry in entries if entry[1].projector), entries[0])
        return web.Response(body=encoded(self._board, *best), content_type="application/json")


class _Wanted:
    """The model of a query, in a `namespace` or, with None, in all. Raises InvalidRef, UnsupportedSource."""

    def __init__(self, query: LocalQuery, namespace: str | None) -> None:
        self.namespace = namespace
        self.text = query.model_ref
        self._ref = parse_lenient(query.model_ref)
        self._endpoint = query.endpoint

    def named(self, downloads: list[ModelDownload]) -> list[ModelDownload]:
        """The downloads of the ref at any hub."""
        return matching(self._ref, downloads)

    def of(self, downloads: list[ModelDownload]) -> list[ModelDownload]:
        """The downloads of the model."""
        return [download for download in self.named(downloads) if is_from(self._endpoint, download)]

    def may_decide(self, download: ModelDownload) -> bool:
        """Whether a change to this state of the download can end the wait. Its progress can't."""
        is_near = self.namespace in {None, download.namespace} and (has_ended(download) or download.deleting)
        return is_near and bool(self.of([download]))
