"""Writes into the status of settled objects when a worker pod has seen their files, at most once an hour for each.

Nothing runs for a settled object, so that no `status_writer` is at work. The watch brings the new version, and since
only these fields differ, `settled_objects` keeps it. What is due is decided in `domain.lifecycle.checks`. Run by
`controller.start_stores`; told by `manager`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from model_provisioner.controller.stores.claim_watch import ClaimWatch
from model_provisioner.domain.lifecycle.checks import is_due, seen
from model_provisioner.domain.modeldownload import Model, ModelDownload
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import object_path, status_document

_LOG = logging.getLogger(__name__)
_PAUSE_SECONDS = 0.05  # a claim may have thousands of models: the API server gets twenty writes a second at most


class CheckTimes:
    """Run `run` as a task. `find` returns an object if it is settled, `claims` is None if no volume is known.

    `now` returns the time in UTC; `sleep` is in seconds.
    """

    def __init__(
        self,
        api: KubeApi,
        find: Callable[[str], ModelDownload | None],
        claims: ClaimWatch | None,
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._find = find
        self._claims = claims
        self._now = now
        self._sleep = sleep
        self._seen: dict[str, None] = {}  # uids, the first one first
        self._changed = asyncio.Event()

    def add(self, uid: str) -> None:
        """Every file of the object was seen now."""
        self._seen[uid] = None
        self._changed.set()

    async def run(self) -> None:
        """Writes until cancelled. What can't be written now is left to the next time that the files are seen."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._seen:
                uid = next(iter(self._seen))
                del self._seen[uid]
                if await self._write(uid):
                    await self._sleep(_PAUSE_SECONDS)

    async def _write(self, uid: str) -> bool:
        """Whether the API server was asked."""
        download = self._find(uid)
        model = download.status.model if download else None
        if download is None or model is None:
            return False
        now, claim = self._now(), Claim(download.namespace, model.claim_name)
        volume_name = self._claims.volume_of(claim) if self._claims else None
        if not is_due(model, now, volume_name):
            return False
        try:
            path = f"{object_path(download.namespace, download.name)}/status"
            await self._api.patch(path, _patch(download, seen(model, now, volume_name)), kind="json")
        except ApiError as error:
            _LOG.info("lastCheckTime of %s/%s is not written: %s", download.namespace, download.name, error)
        return True


def _patch(download: ModelDownload, model: Model) -> list[dict[str, Any]]:
    """It fails if the object is another one, or has changed."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": download.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": download.resource_version},
        {
            "op": "add",
            "path": "/status/model",
            "value": status_document(replace(download.status, model=model))["model"],
        },
    ]
