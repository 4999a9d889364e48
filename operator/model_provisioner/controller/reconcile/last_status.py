"""Writes the last status of an object that is being deleted: it is not Ready, and why it is still there.

Called by `manager` after the reconciliation has ended, so that `status_writer` does not write any more. What the
message says is decided in `domain.lifecycle.terminating_message`, whether one is written in `manager`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from model_provisioner.domain.lifecycle.events import Terminating
from model_provisioner.domain.lifecycle.snapshot import advance
from model_provisioner.domain.lifecycle.status import project, restore
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import object_path, parse, status_document

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 1.0


class LastStatus:
    """`now` returns the time in UTC; `sleep` is in seconds."""

    def __init__(
        self, api: KubeApi, now: Callable[[], datetime], sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._api = api
        self._now = now
        self._sleep = sleep

    async def write(self, download: ModelDownload, message: str) -> None:
        """Returns when the status says `message`, or when the object is gone or the API server refuses the write.

        Tries again until then; the caller limits the time.
        """
        while True:
            try:
                await self._write(download, message)
            except ApiError as error:
                if not (error.is_transient or error.is_not_found):
                    _LOG.warning("last status of %s/%s: %s", download.namespace, download.name, error)
                if not error.is_transient:
                    return
                await self._sleep(error.retry_after or _RETRY_SECONDS)
            else:
                return

    async def _write(self, download: ModelDownload, message: str) -> None:
        """Reads the object first: what kopf has delivered may be older than the last write of the reconciliation."""
        path = object_path(download.namespace, download.name)
        found = parse(await self._api.get(path))
        if found.uid != download.uid:
            return
        snapshot = advance(restore(found.status), Terminating(message), self._now())
        status = project(snapshot, found.generation, self._now(), found.status)
        if status != found.status:
            body: list[dict[str, Any]] = [
                {"op": "test", "path": "/metadata/uid", "value": found.uid},
                {"op": "add", "path": "/status", "value": status_document(status)},
            ]
            await self._api.patch(f"{path}/status", body, kind="json")
