"""What a reconciler waits for between two attempts: time, another Secret, its files, the catalog, a pod, or a claim.

Called by `reconciler`. A wait returns when its condition holds and changes nothing. The backoff is computed in
`domain.lifecycle.backoff`, and an edit of the object is noticed by the reconciler itself: neither belongs here.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.reconcile.credentials import Secret, until_changed
from model_provisioner.controller.reconcile.dependencies import Dependencies
from model_provisioner.controller.reconcile.wakeup import Wakeup
from model_provisioner.domain.errors import (
    AccessDenied,
    CatalogUnavailable,
    ClaimNotFound,
    ClaimPending,
    LicenseNotAccepted,
    SecretNotFound,
    SourceNotFound,
    VolumeChanged,
    WorkerPending,
)
from model_provisioner.domain.lifecycle.snapshot import Snapshot
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.store.claim import Claim

_FIXED_BY_A_SECRET = frozenset(
    error.__name__ for error in (SecretNotFound, AccessDenied, LicenseNotAccepted, SourceNotFound)
)

_FIXED_BY_A_CLAIM = frozenset(error.__name__ for error in (ClaimNotFound, ClaimPending, VolumeChanged))

_Wait = Coroutine[Any, Any, None]


async def until_next_attempt(
    deps: Dependencies, download: ModelDownload, snapshot: Snapshot, secret: Secret | None, delay: float | None
) -> None:
    """Returns when the next attempt for `download`, which stands at `snapshot`, is due.

    `delay` is the backoff in seconds, None if time alone is no reason for an attempt. `secret` is the Secret that the
    last attempt has read, None if it has read none.
    """
    files = _files_may_have_changed(deps, download, snapshot)
    if delay is None and snapshot.ready:
        await files  # alone: thousands of Ready objects wait here, and each further wait costs a task
        return
    await _first_completed(
        files,
        _delay_over(deps, delay),
        _other_secret(deps, download, snapshot, secret),
        _catalog_recovered(deps, download, snapshot),
        _pod_ready(deps, download, snapshot),
        _claim_changed(deps, download, snapshot),
    )


async def done_or_woken(task: asyncio.Task[None], changed: Wakeup) -> bool:
    """Returns True when `task` is done, or False when `changed` is set before."""
    await asyncio.wait({task, changed.future}, return_when=asyncio.FIRST_COMPLETED)
    return task.done()


def _files_may_have_changed(deps: Dependencies, download: ModelDownload, snapshot: Snapshot) -> _Wait:
    """Ends when the files of a Ready model must be checked."""
    if snapshot.model is None or not snapshot.ready:
        return _forever()
    claim = Claim(download.namespace, snapshot.model.claim_name)
    return deps.file_monitor.until_notified(claim, snapshot.model)


async def _delay_over(deps: Dependencies, delay: float | None) -> None:
    await (_forever() if delay is None else deps.sleep(delay))


def _other_secret(deps: Dependencies, download: ModelDownload, snapshot: Snapshot, secret: Secret | None) -> _Wait:
    """Ends when the Secret is another than `secret`, with which the hub refused the model."""
    if secret is None or snapshot.reason not in _FIXED_BY_A_SECRET:
        return _forever()
    return until_changed(deps.api, download.namespace, secret, deps.sleep)


def _catalog_recovered(deps: Dependencies, download: ModelDownload, snapshot: Snapshot) -> _Wait:
    """Ends when the catalog, which could not take the model in, can be written again."""
    if snapshot.reason != CatalogUnavailable.__name__:
        return _forever()
    return deps.catalog.recovered(download)


def _pod_ready(deps: Dependencies, download: ModelDownload, snapshot: Snapshot) -> _Wait:
    """Ends when the worker pod that was waited for is connected."""
    if snapshot.reason != WorkerPending.__name__ or download.spec.claim_name is None:
        return _forever()
    return deps.stores.until_ready(Claim(download.namespace, download.spec.claim_name))


def _claim_changed(deps: Dependencies, download: ModelDownload, snapshot: Snapshot) -> _Wait:
    """Ends when the claim, which a worker pod could not use as it was, appears or gets another volume."""
    if deps.claims is None or snapshot.reason not in _FIXED_BY_A_CLAIM or download.spec.claim_name is None:
        return _forever()
    return deps.claims.until_changed(Claim(download.namespace, download.spec.claim_name))


async def _forever() -> None:
    await asyncio.Event().wait()


async def _first_completed(*waits: _Wait) -> None:
    """Returns when the first of `waits` returns, and cancels the others. Raises what it raises."""
    tasks = [asyncio.create_task(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel_and_wait(*tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
