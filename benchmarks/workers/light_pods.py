"""`python -m benchmarks.workers.light_pods`: Job controller, kubelet and all worker pods of a cluster, in one process.

A pod is the relay of a real one (`worker_pod`), with its own connection to the operator and its own directory as the
claim. The requests are carried out by the engine of a real worker (`transfer.worker`), in this process instead of in
two processes for each pod: so that hundreds fit on one machine. A limit that changes while a fetch runs is not applied.

Started by `stage`. What it sees is appended to `events.jsonl`: a Job, a pod that is connected, a pod that has ended.
"""

import argparse
import asyncio
import base64
import contextlib
import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from model_provisioner.aio.cancellation import cancel_and_wait, cancel_at_sigterm
from model_provisioner.aio.clock import Clock
from model_provisioner.domain.network.addresses import NetworkPolicy, parse_allowed_host
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.transfer.http.client import Client, NetworkSettings, open_client
from model_provisioner.transfer.worker import outbox as worker_outbox
from model_provisioner.transfer.worker.worker import Worker
from model_provisioner.worker_pod.connection import Connection, Operator
from model_provisioner.worker_pod.outbox import Outbox
from model_provisioner.worker_pod.requests import Requests
from model_provisioner.worker_processes.worker import (
    AddressHandler,
    ProgressHandler,
    ignore_progress,
    ignore_question,
)
from model_provisioner.worker_protocol.forking import Role
from model_provisioner.worker_protocol.messages import (
    AddressGiven,
    Answer,
    Limit,
    Progress,
    Request,
    Task,
    VerifyingAnswer,
)

EVENTS = "events.jsonl"
JOBS = "/apis/batch/v1/jobs"
_PROGRESS_SECONDS = 0.2  # as `transfer.worker.outbox`
_SILENCE_SECONDS = 600.0
_RETRY_SECONDS = 0.2

Document = dict[str, Any]
Note = Callable[[str, str], None]


class _Answers(worker_outbox.Outbox):
    """Passes the answers of a worker on at once, and of its progress no more than a pipe would."""

    def __init__(self, post: Callable[[Answer], None]) -> None:  # without a pipe: the base class is not initialised
        self._post = post
        self._next = 0.0

    def post(self, answer: Answer) -> None:
        if isinstance(answer, Progress | VerifyingAnswer):
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + _PROGRESS_SECONDS
        self._post(answer)


class _LightWorker:
    """A `worker_processes.worker.Worker` whose engine runs in this process."""

    def __init__(self, client: Client, post: Callable[[Answer], None]) -> None:
        self._worker = Worker(client, _Answers(post), Clock())

    async def call(
        self,
        request: Request,
        on_progress: ProgressHandler = ignore_progress,  # noqa: ARG002 -- progress goes to the outbox of the pod
        seconds: float | None = None,  # noqa: ARG002 -- Requests sets none
        silence: float | None = None,  # noqa: ARG002
        on_address: AddressHandler = ignore_question,  # noqa: ARG002 -- the engine asks the source itself
    ) -> Answer:
        """The final answer to `request`, which is a task."""
        assert isinstance(request, Task)
        return await self._worker.handle(request)

    def notify(self, request: Limit | AddressGiven) -> None:
        """Not applied."""

    async def start(self) -> object:
        return None

    async def stop(self) -> None:
        """There is no process to end."""


class _WatchedOutbox(Outbox):
    """Tells when its pod is connected."""

    def __init__(self, on_connected: Callable[[], None]) -> None:
        super().__init__()
        self._on_connected = on_connected

    def connect(self, confirmed: int) -> None:
        super().connect(confirmed)
        self._on_connected()


class LightPods:
    """Plays every Job of the cluster. `directory` takes the claims, as NAMESPACE/CLAIM, and the Secrets."""

    def __init__(self, api: KubeApi, client: Client, directory: Path, note: Note) -> None:
        self._api = api
        self._client = client
        self._directory = directory
        self._note = note
        self._playing: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                with contextlib.suppress(ApiError):
                    async for event in self._api.watch(JOBS, {}, _SILENCE_SECONDS):
                        self._hear(event["type"], event["object"])
        finally:
            await cancel_and_wait(*self._playing.values())

    def _hear(self, kind: str, job: Document) -> None:
        uid = job["metadata"].get("uid", "")
        if kind == "ADDED" and uid not in self._playing:
            self._note("job", uid)
            self._playing[uid] = asyncio.create_task(self._play(job))
        elif kind == "DELETED" and uid in self._playing:
            self._playing[uid].cancel()

    async def _play(self, job: Document) -> None:
        """From the pod's creation to its end; a deleted Job takes its pod and its Secret with it."""
        namespace, name, uid = (job["metadata"][key] for key in ("namespace", "name", "uid"))
        core = f"/api/v1/namespaces/{namespace}"
        template = job["spec"]["template"]
        secret = next(one["secret"]["secretName"] for one in template["spec"]["volumes"] if "secret" in one)
        pod = await self._create_pod(core, job)
        path = f"{core}/pods/{pod['metadata']['name']}"
        try:
            files = await self._secret(f"{core}/secrets/{secret}")
            await self._api.patch(f"{path}/status", {"status": {"phase": "Running"}})
            code = await self._work(template["spec"], namespace, files, uid)
            self._note("ended", uid)
            await self._finish(path, f"/apis/batch/v1/namespaces/{namespace}/jobs/{name}", code)
            await asyncio.Event().wait()  # until the Job is deleted
        finally:
            with contextlib.suppress(ApiError):
                await self._api.delete(path, {"gracePeriodSeconds": 0})
                await self._api.delete(f"{core}/secrets/{secret}")

    async def _create_pod(self, core: str, job: Document) -> Document:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        metadata = {
            "name": f"{name}-{uuid.uuid4().hex[:5]}",
            "labels": template["metadata"]["labels"],
            "ownerReferences": [{**owner, "controller": True}],
        }
        spec = {**template["spec"], "nodeName": "node-1"}
        return await self._api.create(f"{core}/pods", {"metadata": metadata, "spec": spec})

    async def _secret(self, path: str) -> Path:
        """The directory with the files of the Secret, which the operator creates after the Job."""
        document: Document = {}
        while not document:
            try:
                document = await self._api.get(path)
            except ApiError:
                await asyncio.sleep(_RETRY_SECONDS)
        directory = self._directory / "secrets" / str(document["metadata"]["uid"])
        directory.mkdir(parents=True)
        for key, value in document["data"].items():
            (directory / key).write_bytes(base64.b64decode(value))
        return directory

    async def _work(self, spec: Document, namespace: str, secret: Path, uid: str) -> int:
        """The exit code of the pod's process."""
        flags = dict(word.split("=", 1) for word in spec["containers"][0]["args"] if word.count("=") == 1)
        (claim,) = (
            one["persistentVolumeClaim"]["claimName"] for one in spec["volumes"] if "persistentVolumeClaim" in one
        )
        directory = self._directory / namespace / claim
        directory.mkdir(parents=True, exist_ok=True)
        outbox = _WatchedOutbox(lambda: self._note("connected", uid))
        worker = _LightWorker(self._client, outbox.post)
        requests = Requests({Role.FETCHER: worker, Role.STORE: worker}, str(directory), outbox.post)
        return await Connection(Operator(flags["--connect"], flags["--job"], secret), requests, outbox).run()

    async def _finish(self, pod: str, job: str, code: int) -> None:
        """What the kubelet and the Job controller write when the process has ended."""
        kinds = ("FailureTarget", "Failed") if code else ("SuccessCriteriaMet", "Complete")
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        status: Document = {"conditions": [{"type": kind, "status": "True"} for kind in kinds], "startTime": now}
        if not code:
            status["completionTime"] = now
        with contextlib.suppress(ApiError):  # the operator deletes the Job at this time
            await self._api.patch(f"{pod}/status", {"status": {"phase": "Failed" if code else "Succeeded"}})
            await self._api.patch(f"{job}/status", {"status": status})


async def _run(given: argparse.Namespace) -> None:
    cancel_at_sigterm()
    policy = NetworkPolicy(allowed_hosts=tuple(map(parse_allowed_host, given.allow_host)))
    api = await KubeApi.connect(given.kubeconfig)
    with (given.directory / EVENTS).open("a", buffering=1) as events:

        def note(what: str, uid: str) -> None:
            events.write(json.dumps({"time": time.time(), "what": what, "job": uid}) + "\n")

        try:
            async with open_client(NetworkSettings(policy, given.ca_file)) as client:
                await LightPods(api, client, given.directory, note).run()
        finally:
            await api.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers.light_pods", description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--ca-file", type=Path, required=True)
    parser.add_argument("--allow-host", action="append", default=[])
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
