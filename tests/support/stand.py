"""A whole provisioner for one test: a namespace, a hub, a volume, and the operator as a separate process.

The tests of the controller see it as a user does: through the API server, the volume and the hub's log.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.support.conditions import condition
from tests.support.history import History
from tests.support.hub import Hub
from tests.support.models import files_below
from tests.support.programs import Program, eventually

GROUP_VERSION = "models.rbee.dev/v1alpha1"
CLAIM = "models"

Document = dict[str, Any]


class Stand:
    """One provisioner. `volume` is the directory of the claim `models`, `directory` takes the logs of the operators.

    `history` has every version of every object.
    """

    def __init__(
        self, cluster: Cluster, namespace: str, hub: Hub, directory: Path, volume: Path, history: History
    ) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.hub = hub
        self.volume = volume
        self.history = history
        self._directory = directory
        self._programs: list[Program] = []
        self._sites = [self]

    @property
    def store(self) -> str:
        """The flag for an operator that serves this namespace and its volume."""
        return f"--store={self.namespace}/{CLAIM}={self.volume}"

    @property
    def flags(self) -> list[str]:
        return [
            self.store,
            f"--kubeconfig={self.cluster.kubeconfig}",
            f"--endpoint={self.hub.endpoint}",
            f"--allow-host={self.hub.host_port}",
            f"--allow-host={self.hub.content_origin.removeprefix('https://')}",
            f"--ca-file={self.hub.ca_file}",
        ]

    def start_operator(
        self, *flags: str, environment: dict[str, str] | None = None, module: str = "model_provisioner.cli"
    ) -> Program:
        """Starts one more operator. The one that acquires the Lease acts.

        `flags` are added to the default ones. `module` is the program to run.
        """
        log = self._directory / f"operator-{len(self._programs)}.log"
        flags = (*self.flags, *flags)
        program = Program(["operator", *flags], log, environment, module)
        self._programs.append(program)
        served = _values(flags, "--watch-namespace") or [store.split("/")[0] for store in _values(flags, "--store")]
        for site in self._sites:
            if site.namespace in served or "*" in served:
                site.history.lease_namespace = [self.namespace, *_values(flags, "--lease-namespace")][-1]
        return program

    @contextlib.contextmanager
    def neighbour(self, namespace: str) -> Iterator["Stand"]:
        """Another namespace with a volume of its own, for the same operator.

        The operator mounts the volume if the neighbour's `store` is among its flags.
        """
        volume = self._directory / namespace
        volume.mkdir()
        self.cluster.create_namespace(namespace)
        with History(self.cluster.api, namespace) as history:
            made = Stand(self.cluster, namespace, self.hub, self._directory, volume, history)
            made._programs = self._programs
            made._sites = self._sites
            self._sites.append(made)
            yield made

    def stop(self) -> None:
        for program in self._programs:
            if program.process.poll() is None:
                program.kill()

    def apply(self, name: str, **spec: Any) -> Document:
        return self.cluster.apply([self.manifest(name, **spec)])[0]

    def manifest(self, name: str, **spec: Any) -> Document:
        return {
            "apiVersion": GROUP_VERSION,
            "kind": "ModelDownload",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": spec,
        }

    def patch(self, name: str, spec: Document | None = None, **metadata: Any) -> None:
        self.cluster.api.merge(self.path(name), {"spec": spec or {}, "metadata": metadata})

    def path(self, name: str) -> str:
        return f"/apis/{GROUP_VERSION}/namespaces/{self.namespace}/modeldownloads/{name}"

    def get(self, name: str) -> Document:
        return self.cluster.api.get(self.path(name))

    def ready(self, name: str) -> Document:
        """The Ready condition; empty if there is none."""
        return dict(condition(self.get(name), "Ready") or {})

    def until(self, name: str, reason: str, seconds: float = 60) -> Document:
        """Waits until Ready has `reason`; returns the object. Raises AssertionError with the operator's log."""

        def probe() -> Document | None:
            found = self.get(name)
            return found if (condition(found, "Ready") or {}).get("reason") == reason else None

        try:
            return eventually(probe, f"{name} is {reason}", seconds)
        except AssertionError:
            log = self._programs[-1].output()[-3000:] if self._programs else "no operator was started"
            raise AssertionError(f"{name} is {self.ready(name)}, not {reason}; the operator said:\n{log}") from None

    def delete(self, name: str) -> None:
        self.cluster.api.delete(self.path(name))

    def until_gone(self, name: str, seconds: float = 45) -> None:
        """Waits for less than the minute after which the operator lets an object go without removing its files."""
        eventually(lambda: not self.exists(name), f"{name} is gone", seconds)

    def exists(self, name: str) -> bool:
        return self.cluster.api.exists(self.path(name))

    def catalog(self) -> dict[str, str]:
        path = f"/api/v1/namespaces/{self.namespace}/configmaps/model-catalog"
        with contextlib.suppress(ApiError):
            data: dict[str, str] = self.cluster.api.get(path).get("data") or {}
            return data
        return {}

    def events(self, name: str) -> list[tuple[str, str]]:
        """The type and the reason of each Event about an object, oldest first."""
        items = self.cluster.api.get(f"/api/v1/namespaces/{self.namespace}/events")["items"]
        own = [item for item in items if item["involvedObject"]["name"] == name]
        own.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
        return [(item["type"], item["reason"]) for item in own]

    def secret(
        self, name: str, data: dict[str, str], annotations: dict[str, str] | None = None, kind: str = "Opaque"
    ) -> None:
        metadata = {"name": name, "namespace": self.namespace, "annotations": annotations or {}}
        described = {"apiVersion": "v1", "kind": "Secret", "type": kind, "metadata": metadata}
        self.cluster.apply([{**described, "stringData": data}])

    def operator_output(self) -> str:
        """The output of all operators of this stand."""
        return "".join(program.output() for program in self._programs)

    def published(self) -> list[str]:
        """The paths of all published files, relative to the volume."""
        return sorted(path for path in files_below(self.volume) if (self.volume / path).is_file())

    def left_behind(self) -> list[str]:
        """The names of all files on the volume, except those that a store without objects has."""
        names = (name for _, _, found in os.walk(self.volume) for name in found)
        return [name for name in names if name != "store.json" and not name.startswith("confirmed-")]


def _values(flags: Sequence[str], name: str) -> list[str]:
    return [flag.removeprefix(f"{name}=") for flag in flags if flag.startswith(f"{name}=")]


@contextlib.contextmanager
def stand(cluster: Cluster, namespace: str, directory: Path, volume: Path | None = None) -> Iterator[Stand]:
    """A stand without an operator: the test calls `start_operator` after it has filled the hub.

    Without `volume`, the volume is made in `directory`.
    """
    volume = volume or directory / "volume"
    volume.mkdir(exist_ok=True)
    with Hub() as hub, History(cluster.api, namespace) as history:
        made = Stand(cluster, namespace, hub, directory, volume, history)
        try:
            yield made
        finally:
            made.stop()
