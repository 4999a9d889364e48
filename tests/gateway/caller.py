"""Clients of a running gateway: HTTP with a token, and an event stream."""

import contextlib
import json
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.local.cluster import Cluster
from tests.support.programs import Program, eventually, free_port, running

GROUP = "models.rbee.dev"
Document = dict[str, Any]


def grant(cluster: Cluster, namespace: str, account: str, verbs: list[str]) -> None:
    """Creates a service account that may do `verbs` with the ModelDownloads of a namespace."""
    cluster.grant(namespace, account, rule(verbs))


def rule(verbs: list[str]) -> Document:
    """The RBAC policy rule that allows `verbs` with ModelDownloads."""
    return {"apiGroups": [GROUP], "resources": ["modeldownloads"], "verbs": verbs}


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream."""

    name: str
    data: Document
    id: str | None


class Stream:
    """An open event stream. A thread reads it, so that a test can wait for an event."""

    def __init__(self, response: httpx.Response) -> None:
        self.ended = threading.Event()
        self._events: queue.Queue[Event] = queue.Queue()
        threading.Thread(target=self._read, args=(response,), daemon=True).start()

    def next(self, *names: str, seconds: float = 60) -> Event:
        """The next event with one of these names; others are dropped. Raises queue.Empty after `seconds`."""
        while True:
            event = self._events.get(timeout=seconds)
            if event.name in names:
                return event

    def _read(self, response: httpx.Response) -> None:
        fields: dict[str, str] = {}
        with contextlib.suppress(httpx.HTTPError, RuntimeError):
            for line in response.iter_lines():
                if line:
                    key, _, value = line.partition(": ")
                    fields[key] = value
                elif "event" in fields:
                    self._events.put(Event(fields["event"], json.loads(fields["data"]), fields.get("id")))
                    fields = {}
        self.ended.set()


class Caller:
    """A client with a token, or without one."""

    def __init__(self, url: str, token: str | None) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=60, verify=False)

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        return self._client.request(method, path, **more)

    def status(self, method: str, path: str, body: object) -> int:
        """Only the status: the body may be a stream, which does not end."""
        with self._client.stream(method, path, json=body) as response:
            return response.status_code

    def reached(self, path: str) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return self._client.get(path).status_code == 200
        return False

    @contextlib.contextmanager
    def stream(self, query: str = "", **headers: str) -> Iterator[Stream]:
        path = f"/v1/models/download/progress?{query}"
        with self._client.stream("GET", path, headers=headers, timeout=None) as response:
            assert response.status_code == 200, response.read()
            yield Stream(response)


def started(caller: Caller, wanted: Document) -> Document:
    """The answer to a POST that starts a download. A refusal fails the test with what it says."""
    answer = caller.call("POST", "/v1/models/download", json=wanted)
    assert answer.status_code == 202, answer.text
    document: Document = answer.json()
    return document


@dataclass(frozen=True, slots=True)
class Desk:
    """A running gateway and its API server, to which the test writes in place of the operator."""

    cluster: Cluster
    namespace: str
    url: str
    program: Program

    def caller(self, account: str | None) -> Caller:
        return Caller(self.url, self.cluster.token(self.namespace, account) if account else None)

    def path(self, name: str) -> str:
        return f"/apis/{GROUP}/v1alpha1/namespaces/{self.namespace}/modeldownloads/{name}"

    def apply(self, name: str, ref: str, **spec: Any) -> Document:
        metadata = {"name": name, "namespace": self.namespace}
        document = {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "ModelDownload",
            "metadata": metadata,
            "spec": {"modelRef": ref, **spec},
        }
        return self.cluster.apply([document])[0]

    def tell(
        self,
        name: str,
        reason: str,
        *,
        done: int = 0,
        error: str = "",
        path: str = "",
        projector: str = "",
        base_model: str = "",
    ) -> Document:
        """Writes the status as the operator does. `path` is the one of the model, `projector` that of an empty file."""
        ready, stalled = reason == "Available", bool(error)
        message = error or "as it should"
        conditions = [condition("Ready", ready, reason, message)]
        conditions += [condition("Stalled", True, reason, message)] if stalled else []
        path = path or f"hf/acme/{name}/{name}.Q4_K_M.gguf"
        model: Document = {
            "claimName": "models",
            "storeID": "one",
            "repository": f"Acme/{name.title()}",
            "path": path,
            "size": "1000 B",
            "sizeBytes": 1000,
            "digestSource": "Source",
            "files": [{"path": path, "sizeBytes": 1000}],
        }
        if projector:
            files = [*model["files"], {"path": projector, "sizeBytes": 0}]
            model |= {"projector": {"path": projector}, "files": files}
        if base_model:
            model |= {"gguf": {"architecture": "llama", "baseModel": base_model}}
        progress = {
            "bytes": done,
            "totalBytes": 1000,
            "percent": done // 10,
            "summary": f"{done // 10}%",
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        status = {
            "observedGeneration": 1,
            "conditions": conditions,
            "progress": progress,
            "model": model,
            "attempts": 1,
        }
        return self.cluster.api.merge(f"{self.path(name)}/status", {"status": status})

    def until_known(self, name: str, state: str | None = None) -> Document:
        """Waits until the gateway lists the download, in this `state` if there is one, and returns it."""
        editor = self.caller("editor")

        def probe() -> Document | None:
            listed = editor.call("GET", "/v1/models/downloads?all=true").json()["downloads"]
            return next((one for one in listed if one["name"] == name and state in {None, one["state"]}), None)

        return eventually(probe, f"{name} is on the board")


def condition(kind: str, status: bool, reason: str, message: str) -> Document:
    now = "2026-01-01T00:00:00Z"
    return {
        "type": kind,
        "status": str(status),
        "reason": reason,
        "message": message,
        "observedGeneration": 1,
        "lastTransitionTime": now,
    }


@contextlib.contextmanager
def opened(
    cluster: Cluster, namespace: str, directory: Path, *flags: str, scheme: str = "http", more: Sequence[str] = ()
) -> Iterator[Desk]:
    """A gateway that serves `namespace`. Its own account may list and watch, and do `more`."""
    grant(cluster, namespace, "gateway", ["list", "watch", *more])
    grant(cluster, namespace, "editor", ["get", "list", "watch", "create", "patch", "delete"])
    grant(cluster, namespace, "reader", ["get", "list", "watch"])
    cluster.create_service_account(namespace, "stranger")
    listen = f"127.0.0.1:{free_port()}"
    arguments = [
        "gateway",
        f"--listen={listen}",
        f"--kubeconfig={cluster.kubeconfig_for_service_account(namespace, 'gateway')}",
        f"--watch-namespace={namespace}",
        f"--default-namespace={namespace}",
        *flags,
    ]
    with running(arguments, directory / "gateway.log") as program:
        found = Desk(cluster, namespace, f"{scheme}://{listen}", program)
        eventually(lambda: Caller(found.url, None).reached("/readyz"), "the gateway is ready")
        yield found
