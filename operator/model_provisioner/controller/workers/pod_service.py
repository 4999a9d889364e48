"""Puts the parts of worker pods together: certificate, Jobs, pool and door. Called by `controller.start_stores`.

Without `--worker-listen` none of it is imported, and a claim that the operator does not mount is `ClaimNotMounted`.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from aiohttp import web

from model_provisioner.controller.workers.door.authority_secret import AuthoritySecret
from model_provisioner.controller.workers.door.door import Door
from model_provisioner.controller.workers.door.door_tls import Identity, load, server_context
from model_provisioner.controller.workers.door.file_reader import FileReader
from model_provisioner.controller.workers.door.file_route import FileRoute
from model_provisioner.controller.workers.door.given_secret import GivenSecret, UnusableSecretError
from model_provisioner.controller.workers.door.grants import Grants
from model_provisioner.controller.workers.pod_pool import PodPool
from model_provisioner.controller.workers.pods.giving_way import GivingWay
from model_provisioner.controller.workers.pods.job_client import JobClient
from model_provisioner.controller.workers.pods.places import Places
from model_provisioner.controller.workers.pods.pod_settings import job_settings, server_name
from model_provisioner.domain.store.claim import Claim, StoreRef
from model_provisioner.http_server.limits import Limits
from model_provisioner.http_server.server import HttpServer
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.settings.operator import OperatorSettings
from model_provisioner.worker_processes.worker import Worker

_LOG = logging.getLogger(__name__)
_RETRY_SECONDS = 600.0
_CONNECTIONS_OF_POD = 3  # its own, and those of the files that it copies
_SPARE_CONNECTIONS = 64
_SHUTDOWN_SECONDS = 0.2  # a pod does not end its connection, so that all of it is waited


class Identities(Protocol):
    """Where the certificate of the door comes from; it is asked again after `renewal_seconds`."""

    renewal_seconds: float

    async def identity(self) -> Identity:
        """Raises ApiError, or UnusableSecretError."""
        ...


class PodService:
    """`address` is where the door listens, HOST:PORT; `most` is the most pods. `now` is in UTC, `sleep` in seconds.

    `reader` reads the files that pods copy; None: they copy nothing.
    """

    @classmethod
    def of(
        cls,
        settings: OperatorSettings,
        api: KubeApi,
        namespace: str,
        epoch: int,
        now: Callable[[], datetime],
        senders: Mapping[Claim, Worker],
    ) -> "PodService":
        """The service that `settings` ask for; its Secret is in `namespace`. Raises as `pod_settings.check`.

        `senders` send the files of claims that the operator mounts.
        """
        assert settings.worker_listen
        waits = settings.worker_wait_for_first_consumer
        jobs = JobClient(api, job_settings(settings), wait_for_first_consumer=waits)
        places = Places(settings.worker_max, settings.worker_max_per_namespace)
        pool = PodPool(jobs, places, GivingWay(api), epoch)
        mounted = {
            Claim(mount.namespace, mount.claim): StoreRef(str(mount.directory), None, settings.modes)
            for mount in settings.mounts
        }
        reader = FileReader(mounted, senders) if senders else None
        identities = _identities(settings, api, namespace, now)
        return cls(identities, jobs, pool, settings.worker_listen, settings.worker_max, reader=reader)

    def __init__(
        self,
        identities: Identities,
        jobs: JobClient,
        pool: PodPool,
        address: str,
        most: int,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        reader: FileReader | None = None,
    ) -> None:
        self._identities = identities
        self._jobs = jobs
        self.pool = pool
        self._address = address
        self._most = most
        self._sleep = sleep
        self._context = server_context()
        self._server: HttpServer | None = None
        self._identity: Identity | None = None
        self._problem = ""
        self.reader = reader
        self.grants = Grants()
        """Which files the pods may copy."""

    async def start(self, closing: contextlib.AsyncExitStack, namespaces: Sequence[str]) -> None:
        """Recognises the pods of an earlier operator in `namespaces`, then opens the door until `stop` or `closing`.

        Raises ApiError, or ListenError if it cannot listen.
        """
        await self._renew()
        await self.pool.adopt(namespaces)
        app = web.Application()
        door = Door(self.pool.find)
        app.add_routes([door.route()])
        if self.reader:
            await self.reader.start(closing)
            app.add_routes([FileRoute(door.authenticate, self.grants, self.reader).route()])
        limits = Limits(connections=_CONNECTIONS_OF_POD * self._most + _SPARE_CONNECTIONS)
        server = HttpServer(app, limits, self._context, _SHUTDOWN_SECONDS)
        await server.start(self._address, "--worker-listen")
        self._server = server
        closing.push_async_callback(self.stop)

    async def stop(self) -> None:
        """Closes the door, then leaves the pods to the next operator; does nothing if it is stopped.

        In this order: a pod that finds the door open and its Job unknown is refused, and ends.
        """
        server, self._server = self._server, None
        if server:
            await server.close()
            await self.pool.detach()

    async def run(self) -> None:
        """Ends pods that idle, and renews the certificate, until it is cancelled.

        All tasks begin with its first step: at its end, kopf waits 5 s for those that are younger than itself.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.pool.end_idle())
            tasks.create_task(self.pool.give_way())
            tasks.create_task(self._keep_fresh())

    async def _keep_fresh(self) -> None:
        usual = pause = self._identities.renewal_seconds
        while True:
            await self._sleep(pause)
            try:
                await self._renew()
                pause = usual
            except (ApiError, OSError) as error:
                _LOG.warning("the certificate for worker pods is not renewed yet: %s", error)
                pause = min(usual, _RETRY_SECONDS)

    async def _renew(self) -> None:
        """Takes a new certificate for the next connections. Without one no pod connects, and none is started."""
        try:
            identity = await self._identities.identity()
        except UnusableSecretError as error:
            problem = str(error)
            if problem != self._problem:
                _LOG.error("no worker pod can connect: %s", problem)
            self._problem = problem
            self._jobs.trust(None, problem)
            return
        if identity != self._identity:
            load(self._context, identity)
            _LOG.info("the door for worker pods has a new certificate")
        self._identity, self._problem = identity, ""
        self._jobs.trust(identity.authority)


def _identities(settings: OperatorSettings, api: KubeApi, namespace: str, now: Callable[[], datetime]) -> Identities:
    if settings.worker_tls_secret:
        return GivenSecret(api, namespace, settings.worker_tls_secret, server_name(settings))
    return AuthoritySecret(api, namespace, f"{settings.worker_instance}-workers-ca", now)
