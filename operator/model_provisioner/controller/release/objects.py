"""Takes our finalizer off the objects of one namespace. Called by `uninstall`, which ends the operator first.

The namespace is listed page by page until a whole list has no object with our finalizer, because objects may be created
meanwhile, and a patch may be refused. The finalizers of other programs stay, and no file is touched.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from model_provisioner.domain.scope import EVERY_NAMESPACE
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import finalizer_removal, is_being_deleted, object_path, watched_path

_PAGE = 25  # objects; one may have 1.5 MiB
_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0

Metadata = Mapping[str, Any]
Sleep = Callable[[float], Awaitable[None]]


class NamespaceRelease:
    """The release of one namespace, or of all at once, and what has come of it so far. Its text is one line for people.

    `turns` bounds how many pages of all namespaces are in memory and patched at one time.

    `done`: no object has our finalizer. `refusal`: why we may not list the objects, empty if we may.
    """

    def __init__(self, api: KubeApi, namespace: str, turns: asyncio.Semaphore, sleep: Sleep = asyncio.sleep) -> None:
        self.namespace = namespace
        self.done = False
        self.refusal = ""
        self._api = api
        self._turns = turns
        self._sleep = sleep
        self._released = 0
        self._deleting = 0
        self._problem = ""

    def __str__(self) -> str:
        kind = "ModelDownload" if self._released == 1 else "ModelDownloads"
        said = f"{self.place}: {self._released} {kind} released"
        if self._deleting:
            said += f", {self._deleting} of them being deleted: their files stay on the volume"
        return f"{said}; left out: {self.refusal}" if self.refusal else said

    @property
    def place(self) -> str:
        return "all namespaces" if self.namespace == EVERY_NAMESPACE else f"namespace {self.namespace}"

    @property
    def why_not(self) -> str:
        """Why the namespace is not done."""
        return self.refusal or self._problem or "its objects get the finalizer again: does another operator serve it?"

    async def run(self) -> None:
        """Returns when the namespace is done, or when it refuses us. Until then, any other error is followed by another
        list. The caller sets a deadline.
        """
        pause = _PAUSE_SECONDS
        while True:
            try:
                self.done = await self._release_listed()
            except ApiError as error:
                self._problem = str(error)
                self.done = error.is_not_found  # there is no such resource any more, so there are no objects
                self.refusal = str(error) if error.is_forbidden else ""
            if self.done or self.refusal:
                return
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS) if self._problem else _PAUSE_SECONDS
            await self._sleep(pause)

    async def _release_listed(self) -> bool:
        """Lists the namespace once and releases the objects. Returns whether none had our finalizer.

        Raises ApiError if it can't be listed. A token for the next page that has expired is such an error, too.
        """
        self._problem = ""
        found, query = 0, {"limit": str(_PAGE)}
        while True:
            async with self._turns:
                page = await self._api.get(watched_path(self.namespace), query)
                held = [item["metadata"] for item in page["items"] if finalizer_removal(item["metadata"])]
                await asyncio.gather(*(self._release(metadata) for metadata in held))
            found += len(held)
            token = page["metadata"].get("continue")
            if not token:
                return not found
            query = {"limit": str(_PAGE), "continue": token}

    async def _release(self, metadata: Metadata) -> None:
        """Removes our finalizer from one object. An error is remembered: the next list has the object again.

        404 means that the object is gone. With 409 or 422, its finalizers have changed since it was listed.
        """
        name = metadata["name"]
        try:
            await self._api.patch(object_path(metadata["namespace"], name), finalizer_removal(metadata), "json")
        except ApiError as error:
            if not error.is_not_found:
                self._problem = f"{name} is not released: {error}"
        else:
            self._released += 1
            self._deleting += is_being_deleted(metadata)
