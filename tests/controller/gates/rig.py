"""The gates alone, in a thread of this process, on a real API server: the test writes the status of ModelDownloads.

Called by the tests of this folder through the fixture `rig`. The gates reach the API server through a proxy that a test
can make misbehave, and which has every request.
"""

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from deploy.local.cluster import Cluster
from model_provisioner.aio.cancellation import cancel_and_wait
from model_provisioner.controller.gates.gates import Gates, Site
from model_provisioner.domain.errors import SourceNotFound
from model_provisioner.domain.lifecycle.events import Available, Event, Failed, Lost, Progressed, Resolved, Started
from model_provisioner.domain.lifecycle.status import project
from model_provisioner.domain.modeldownload import Model, Status
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import API_VERSION, KIND, collection_path, object_path, status_document
from model_provisioner.settings.operator import OperatorSettings
from tests.support.api_proxy import ApiProxy, Asked
from tests.support.gated_pods import Document, GatedPods
from tests.support.hub.listener import LoopThread
from tests.support.samples import MODEL, NOW, after

REF = "hf:a/b:Q4_K_M"
PATH = f"/models/{MODEL.path}"


class Rig:
    """The gates of `namespaces`, of which the first has `pods`. Names in `unconfirmed` are in no catalog."""

    def __init__(self, cluster: Cluster, proxy: ApiProxy, namespaces: tuple[str, str], kubeconfig: Path) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.namespace, self.other_namespace = namespaces
        self.pods = GatedPods(cluster.api, self.namespace)
        self.unconfirmed = set[str]()
        self._namespaces = namespaces
        self._kubeconfig = kubeconfig

    @contextlib.contextmanager
    def running(self, *, creates: bool = False) -> Iterator[None]:
        """Starts the gates, as a new operator does when it holds the Lease; `creates` is its `--create-models`."""
        thread = LoopThread()
        try:
            stop = thread.run(self._start(creates=creates))
            try:
                yield
            finally:
                thread.run(stop())
        finally:
            thread.stop()

    async def _start(self, *, creates: bool) -> Callable[[], Coroutine[object, object, None]]:
        store = f"{self.namespace}/models=/models"
        own = {"store": [store], "gates": True, "create_models": creates, "node_name": "node-1", "POD_NAME": "me"}
        settings = OperatorSettings.model_validate(own)
        api = await KubeApi.connect(self._kubeconfig)
        site = Site(
            [Claim(self.namespace, "models")], lambda one: one.name not in self.unconfirmed, lambda: datetime.now(UTC)
        )
        gates = Gates(api, self._namespaces, settings, site)
        tasks = []
        for namespace in self._namespaces:
            models = Reflector(api, collection_path(namespace))
            models.add_listener(gates.on_model)
            tasks.append(asyncio.create_task(models.run()))
            await models.synced.wait()
        tasks.append(asyncio.create_task(gates.run()))

        async def stop() -> None:
            for task in tasks:
                assert not task.done(), task
                await cancel_and_wait(task)
            await api.close()

        return stop

    def model(self, name: str, *events: Event, ref: str = REF, model: Model = MODEL) -> None:
        """Creates or changes a ModelDownload whose status is that after `events`; without any, it has none."""
        spec = {"modelRef": ref}
        metadata = {"name": name, "namespace": self.namespace}
        self.cluster.apply([{"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}])
        if events:
            status = project(after(Resolved(model), Started(model, 0), *events), 1, NOW, Status())
            self.cluster.api.merge(f"{object_path(self.namespace, name)}/status", {"status": status_document(status)})

    def ready(self, name: str, *, ref: str = REF, model: Model = MODEL) -> None:
        self.model(name, Available(model), ref=ref, model=model)

    def downloading(self, name: str, received: int = 420) -> None:
        self.model(name, Progressed(received, 0, 100, 4))

    def lost(self, name: str) -> None:
        self.model(name, Available(MODEL), Lost("it is gone; fetching it again"))

    def stalled(self, name: str, *, ref: str = REF) -> None:
        self.model(name, Failed(SourceNotFound("there is no repository a/b"), None), ref=ref)

    def delete(self, name: str) -> None:
        self.cluster.api.delete(object_path(self.namespace, name))

    def get(self, name: str) -> Document:
        return self.cluster.api.get(object_path(self.namespace, name))

    def exists(self, name: str) -> bool:
        listed = self.cluster.api.get(collection_path(self.namespace))["items"]
        return name in {item["metadata"]["name"] for item in listed}

    def patches(self, pod: str) -> int:
        """How often a patch of the pod was asked for."""
        return len(self.proxy.asked(lambda asked: is_patch_of(asked, pod)))


def is_patch_of(asked: Asked, pod: str) -> bool:
    return asked.method == "PATCH" and asked.path.endswith(f"/pods/{pod}")


def on_claim(claim: str) -> Model:
    return replace(MODEL, claim_name=claim)


def on_path(path: str) -> Model:
    return replace(MODEL, path=path, files=(replace(MODEL.files[0], path=path),))
