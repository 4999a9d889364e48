"""Looks after the gated pods of all served namespaces. Made and run by `controller.app`, if `--gates` is set.

It wires the parts of this room and decides nothing. Pods are watched by label, and only until they have a node. The
operator that holds the Lease runs it, so no other one patches a pod; a new one lists the pods and opens at once what is
Ready.
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from model_provisioner.controller.gates.claims import Claims
from model_provisioner.controller.gates.creations import Creations
from model_provisioner.controller.gates.known_models import KnownModels
from model_provisioner.controller.gates.namespace_gates import NamespaceGates, Rules
from model_provisioner.controller.gates.pod_writer import PodWriter
from model_provisioner.domain.annotations import GATE_LABEL
from model_provisioner.domain.modeldownload import ModelDownload
from model_provisioner.domain.pods.lookup import keys_of_wanted
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.store.claim import Claim
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.events import EventPoster
from model_provisioner.kube.reflector import Reflector
from model_provisioner.kube.resource import watched_pods_path
from model_provisioner.settings.operator import OperatorSettings

_PAGE_SIZE = 50
_SELECTION = {"labelSelector": f"{GATE_LABEL}=true", "fieldSelector": "spec.nodeName="}
_KEPT = ("namespace", "name", "uid", "resourceVersion")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Site:
    """What the gates need of the operator: the claims that its pod mounts, and whether the catalog lists an object."""

    mounted: Iterable[Claim]
    is_confirmed: Callable[[ModelDownload], bool]
    now: Callable[[], datetime]


class Gates:
    """Add `on_model` to the reflectors of ModelDownloads before they run. Run `run` as a task."""

    def __init__(self, api: KubeApi, namespaces: Iterable[str], settings: OperatorSettings, site: Site) -> None:
        self._api = api
        claims = Claims(api, site.mounted, settings.node_name)
        self._writer = PodWriter(api, claims, EventPoster(api, settings.instance, site.now))
        self._rules = Rules(
            settings.mount_path, settings.create_models, site.is_confirmed, time.monotonic, random.random
        )
        self._watched = tuple(namespaces)
        self._gates: dict[str, NamespaceGates] = {}
        self._tasks: asyncio.TaskGroup | None = None

    def on_model(self, kind: str, document: Mapping[str, Any]) -> None:
        self._of(document).on_model(kind, document)

    async def run(self) -> None:
        """Runs until cancelled. Call it when the ModelDownloads are known, and the catalog lists what is Ready."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for gates in self._gates.values():
                tasks.create_task(gates.run())
            for namespace in self._watched:
                path = watched_pods_path(namespace)
                pods = Reflector(self._api, path, selection=_SELECTION, page_size=_PAGE_SIZE)
                pods.set_transform(_trim)
                pods.add_listener(self._on_pod)
                tasks.create_task(pods.run())

    def _on_pod(self, kind: str, document: Mapping[str, Any]) -> None:
        self._of(document).on_pod(kind, document)

    def _of(self, document: Mapping[str, Any]) -> NamespaceGates:
        """The gates of the namespace of an object. They are made for the first one that is seen."""
        namespace = document["metadata"]["namespace"]
        if namespace not in self._gates:
            self._gates[namespace] = _gates(self._api, namespace, self._writer, self._rules)
            if self._tasks:
                self._tasks.create_task(self._gates[namespace].run())
        return self._gates[namespace]


def _gates(api: KubeApi, namespace: str, writer: PodWriter, rules: Rules) -> NamespaceGates:
    models = KnownModels()

    def creations(gates: NamespaceGates) -> Creations:
        def is_wanted(ref: ModelRef) -> bool:
            return gates.is_waited_for({str(ref)}) and models.find(ref, frozenset()) is None

        def on_change(ref: ModelRef) -> None:
            gates.look_again(keys_of_wanted(ref))

        return Creations(api, namespace, is_wanted, models.has, on_change, rules.monotonic, rules.jitter)

    return NamespaceGates(models, writer, rules, creations)


def _trim(document: Document) -> Document:
    """What the reflector needs; `held_pods` keeps the rest."""
    return {"metadata": {key: document["metadata"][key] for key in _KEPT}}
