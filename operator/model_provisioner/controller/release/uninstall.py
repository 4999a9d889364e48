"""The order of a release: end the operator, hold its Lease, take the finalizer off the objects, give the Lease up.

Called by `command`. An operator that runs would put the finalizer back, and would delete files of objects that are
being deleted. So its Deployment is scaled to 0 (`deployment`), and the Lease is held until all objects are released
(`objects`): no other operator acts meanwhile. Files, records, claims, the catalog and the resource's definition are not
touched.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from datetime import UTC, datetime
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.process.lease import Lease, LeaseLost
from model_provisioner.controller.release.deployment import scale_to_zero, wait_for_pods
from model_provisioner.controller.release.objects import NamespaceRelease
from model_provisioner.domain.liveness import LeaseHolder
from model_provisioner.domain.scope import EVERY_NAMESPACE
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.settings.release import ReleaseSettings

_TOTAL_SECONDS = 145.0  # giving up the Lease afterwards takes at most 4 s; Helm waits for 300 s
_PODS_SECONDS = 75.0  # the pod's terminationGracePeriodSeconds of 60, and time for the kubelet
_PAGES_AT_ONE_TIME = 4  # bounds memory, and lets namespaces with few objects pass one with many

_NEXT_STEP = (
    "The Deployment stays at 0 replicas. Run `helm uninstall` again. With --no-hooks it leaves this step out, and the "
    "objects keep the finalizer"
)


class NotReleased(Exception):
    """Objects may have our finalizer still. The message says why, and what to do next."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}. {_NEXT_STEP}")


async def release(
    api: KubeApi, settings: ReleaseSettings, say: Callable[[str], None], seconds: float = _TOTAL_SECONDS
) -> None:
    """Returns when no object in the watched namespaces has our finalizer. `say` gets one line for each namespace.

    Takes at most `seconds`, and 4 s for giving up the Lease. Raises NotReleased.
    """
    begun = asyncio.get_running_loop().time()
    deadline, pods_deadline = begun + seconds, begun + min(seconds, _PODS_SECONDS)
    try:
        async with _deadline(deadline, "the API server did not scale the operator's Deployment"):
            selector = await scale_to_zero(api, settings.namespace, settings.deployment)
        async with _held_lease(api, settings, deadline) as lease:
            await _while_renewed(lease, _release_all(api, settings, say, selector, pods_deadline, deadline))
    except ApiError as error:
        raise NotReleased(str(error)) from None
    except LeaseLost as error:
        raise NotReleased(f"the operator's Lease is lost: {error}") from None


@contextlib.asynccontextmanager
async def _held_lease(api: KubeApi, settings: ReleaseSettings, deadline: float) -> AsyncIterator[Lease]:
    """Waits until the operator has given the Lease up, or its pod is gone, or the Lease has expired."""
    identity = LeaseHolder(settings.instance, settings.pod_uid)
    lease = Lease(api, settings.namespace, identity, lambda: datetime.now(UTC), time.monotonic)
    async with _deadline(deadline, "the operator's Lease is still held: its process has not ended"):
        await lease.acquire()
    try:
        yield lease
    finally:
        await lease.release()


async def _while_renewed(lease: Lease, work: Coroutine[Any, Any, None]) -> None:
    """Does `work` while the Lease is renewed. Raises its error, or LeaseLost."""
    working, renewing = asyncio.create_task(work), asyncio.create_task(lease.renew())
    try:
        done, _ = await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        await cancel_and_wait(working, renewing)


async def _release_all(
    api: KubeApi,
    settings: ReleaseSettings,
    say: Callable[[str], None],
    selector: str,
    pods_deadline: float,
    deadline: float,
) -> None:
    """Waits for the pods, and then releases all namespaces side by side. Raises NotReleased."""
    if selector:
        await wait_for_pods(api, settings.namespace, selector, pods_deadline)
    turns = asyncio.Semaphore(_PAGES_AT_ONE_TIME)
    releases = [NamespaceRelease(api, namespace, turns) for namespace in settings.namespaces]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout_at(deadline):
            await asyncio.gather(*(one.run() for one in releases))
    for one in releases:
        say(str(one))
    _check(releases, settings.namespace)


def _check(releases: Sequence[NamespaceRelease], home: str) -> None:
    """Raises NotReleased unless each namespace is done. A refusal counts as done, except in `home` and in all at once.

    The Role in another namespace is gone with that namespace. The one of `home`, our own namespace, must be there, and
    so must the ClusterRole.
    """
    needed = {home, EVERY_NAMESPACE}
    unfinished = [one for one in releases if not one.done and not (one.refusal and one.namespace not in needed)]
    if unfinished:
        raise NotReleased("; ".join(f"{one.place}: {one.why_not}" for one in unfinished))


@contextlib.asynccontextmanager
async def _deadline(deadline: float, why: str) -> AsyncIterator[None]:
    """Raises NotReleased at `deadline`, a time of the event loop."""
    try:
        async with asyncio.timeout_at(deadline):
            yield
    except TimeoutError:
        raise NotReleased(why) from None
