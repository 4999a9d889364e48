"""A private control plane: etcd and kube-apiserver on loopback. It starts in seconds and leaves no files behind.

Used by the tests, the demo and `python -m deploy.local`. RBAC is on and tokens are real. There is no
controller-manager: `create_namespace` and `finish_namespace` replace the parts that the tests need. A test that needs
other controllers, a scheduler or a kubelet needs a real cluster.
"""

import shutil
import socket
import ssl
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import yaml

from deploy.local import certificates
from deploy.local.api import Api, ApiError, Document, Resource
from deploy.local.binaries import Binaries
from deploy.local.processes import Child, ProcessEnded, start

RBAC = "rbac.authorization.k8s.io"
READY_WITHIN = 60.0  # seconds; a start takes about 3, a loaded machine is allowed more
POLL = 0.05  # seconds between two checks of a condition
PORTS_TO_TRY = 3  # a port that was free may be taken before kube-apiserver listens on it


class Cluster:
    """One etcd and one kube-apiserver. The `with` block starts and stops them; several clusters can run at one time.

    `directory` holds all files of the cluster and must be private. By default it is a temporary directory, which is
    removed with the cluster. `flags` are further flags of kube-apiserver: name without dashes, and value.
    """

    def __init__(
        self, binaries: Binaries, directory: Path | None = None, flags: Mapping[str, object] | None = None
    ) -> None:
        self._binaries = binaries
        self._flags = flags or {}
        self._given_directory = directory
        self._children: list[Child] = []

    def __enter__(self) -> Self:
        # The path of a socket is at most 107 bytes long; the path of the given directory may be longer.
        self._sockets = Path(tempfile.mkdtemp(prefix="etcd-"))
        self.directory = self._given_directory or Path(tempfile.mkdtemp(prefix="cluster-"))
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops both processes, the API server first, and removes temporary directories. Safe to call again."""
        while self._children:
            self._children.pop().stop()
        shutil.rmtree(self._sockets, ignore_errors=True)
        if self._given_directory is None:
            shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def kubeconfig(self) -> Path:
        """The path of the administrator's kubeconfig."""
        return self.directory / "kubeconfig"

    @property
    def ca(self) -> Path:
        """The PEM file of the authority that signed the API server's certificate."""
        return self._certificates.ca

    def check(self) -> None:
        """Raises ProcessEnded if a process of the control plane has ended."""
        for child in self._children:
            child.check()

    def create_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Creates a namespace and its service account `default`, as the controller-manager does."""
        self.api.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels or {}}})
        self.create_service_account(name, "default")

    def create_service_account(self, namespace: str, name: str) -> None:
        self.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": name}})

    def grant(self, namespace: str, name: str, rule: Document) -> None:
        """Creates a service account and grants it `rule`, an RBAC policy rule, in its namespace.

        Returns when the API server lets the account act: it learns of a new binding by a watch, which may be late.
        """
        self.create_service_account(namespace, name)
        rbac = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": name, "namespace": namespace}}
        role = {"apiGroup": RBAC, "kind": "Role", "name": name}
        subjects = [{"kind": "ServiceAccount", "name": name, "namespace": namespace}]
        self.apply(
            [
                {**rbac, "kind": "Role", "rules": [rule]},
                {**rbac, "kind": "RoleBinding", "roleRef": role, "subjects": subjects},
            ]
        )
        self._wait(lambda: self.allows(namespace, name, rule), f"{namespace}/{name} has its rights")

    def allows(self, namespace: str, name: str, rule: Document, within: str | None = None) -> bool:
        """Whether the API server lets a service account do now what the first words of `rule` say.

        `within` is the namespace of the objects: by default that of the account, "" for all.
        """
        resource, _, subresource = rule["resources"][0].partition("/")
        attributes = {
            "namespace": namespace if within is None else within,
            "group": rule["apiGroups"][0],
            "resource": resource,
            "subresource": subresource,
            "verb": rule["verbs"][0],
            "name": rule.get("resourceNames", [""])[0],
        }
        review = {"spec": {"resourceAttributes": attributes}}
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool(self.as_service_account(namespace, name).create(path, review)["status"]["allowed"])

    def token(self, namespace: str, name: str, seconds: int = 3600) -> str:
        """A token of a service account, valid for `seconds` (at least 600), from the TokenRequest API."""
        request = {"spec": {"expirationSeconds": seconds}}
        answer = self.api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token", request)
        return str(answer["status"]["token"])

    def as_service_account(self, namespace: str, name: str) -> Api:
        """A client with a token of a service account."""
        return replace(self.anonymous(), token=self.token(namespace, name))

    def anonymous(self) -> Api:
        """A client without credentials."""
        return Api(self.url, ssl.create_default_context(cafile=str(self.ca)))

    def kubeconfig_for_service_account(self, namespace: str, name: str) -> Path:
        """Writes a kubeconfig with a token that is valid for an hour and the account's namespace; returns its path."""
        path = self.directory / f"{namespace}.{name}.kubeconfig"
        _write_kubeconfig(path, self.url, self.ca, {"token": self.token(namespace, name)}, namespace)
        return path

    def apply(self, manifests: Path | Document | Iterable[Document], namespace: str = "default") -> list[Document]:
        """`Api.apply` as the administrator. Returns when every CustomResourceDefinition in `manifests` is served."""
        stored = self.api.apply(manifests, namespace)
        for document in stored:
            if document["kind"] == "CustomResourceDefinition":
                self._wait(partial(self._serves, document), f"{document['metadata']['name']} is served")
        return stored

    def finish_namespace(self, name: str, timeout: float = 30.0) -> None:
        """Deletes a namespace and all objects in it, as the controller-manager does. Waits for finalizers.

        Raises TimeoutError, which names the remaining objects, after `timeout` seconds.
        """
        self.api.delete(f"/api/v1/namespaces/{name}")
        resources = [resource for resource in self._namespaced() if "delete" in resource.verbs]
        deadline = time.monotonic() + timeout
        while left := [path for resource in resources for path in self._delete_all(resource, name)]:
            if time.monotonic() > deadline:
                raise TimeoutError(f"namespace {name} still holds {', '.join(left)}: nothing removes their finalizers")
            time.sleep(POLL)
        namespace = self.api.get(f"/api/v1/namespaces/{name}")
        namespace["spec"]["finalizers"] = []
        self.api.replace(f"/api/v1/namespaces/{name}/finalize", namespace)

    def _start(self) -> None:
        pki = self.directory / "pki"
        pki.mkdir(exist_ok=True)
        self._certificates = certificates.make(pki)
        etcd = self._start_etcd()
        for attempt in range(PORTS_TO_TRY):
            try:
                self._start_apiserver(etcd)
                break
            except ProcessEnded:
                if attempt == PORTS_TO_TRY - 1:
                    raise
                self._children.pop()
        pair = {"client-certificate": str(self._certificates.admin), "client-key": str(self._certificates.admin_key)}
        _write_kubeconfig(self.kubeconfig, self.url, self.ca, pair, "default")

    def _start_etcd(self) -> str:
        client, peer = (f"unix://{self._sockets}/{name}" for name in ("client", "peer"))
        flags = {
            "data-dir": self.directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
        }
        # The data need not survive a crash of the machine, so etcd does not wait for the disk.
        self._run("etcd", self._binaries.etcd, {**flags, "unsafe-no-fsync": "true"})
        return client

    def _start_apiserver(self, etcd: str) -> None:
        port, pki = _free_port(), self._certificates
        self.url = f"https://127.0.0.1:{port}"
        self.api = Api(self.url, _administrator(pki))
        flags = {
            "etcd-servers": etcd,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": port,
            "endpoint-reconciler-type": "none",  # it refuses to publish a loopback address
            "authorization-mode": "RBAC",
            # This plugin adds a finalizer to claims. A controller removes it, and there is none here.
            "disable-admission-plugins": "StorageObjectInUseProtection",
            "client-ca-file": pki.ca,
            "tls-cert-file": pki.server,
            "tls-private-key-file": pki.server_key,
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": pki.accounts_public_key,
            "service-account-signing-key-file": pki.accounts_key,
            "service-cluster-ip-range": "10.0.0.0/24",
        }
        self._run("kube-apiserver", self._binaries.kube_apiserver, {**flags, **self._flags})
        self._wait(self._ready, "kube-apiserver is ready")

    def _run(self, name: str, program: Path, flags: dict[str, object]) -> None:
        command = [str(program), *(f"--{flag}={value}" for flag, value in flags.items())]
        self._children.append(start(name, command, self.directory / f"{name}.log"))

    def _ready(self) -> bool:
        code, _ = self.api.exchange("GET", "/readyz", None, content_type="", accept="*/*")
        return code == 200

    def _serves(self, definition: Document) -> bool:
        """True if discovery has the kind of a CustomResourceDefinition and the server answers a list of its objects."""
        spec = definition["spec"]
        return all(
            bool(self.api.get(f"/apis/{spec['group']}/{version['name']}/{spec['names']['plural']}"))
            and bool(self.api.resource(f"{spec['group']}/{version['name']}", spec["names"]["kind"]))
            for version in spec["versions"]
            if version["served"]
        )

    def _wait(self, holds: Callable[[], bool], what: str) -> None:
        """Returns when `holds` returns True. Until then, False, a refusal or a missing answer leads to another call.

        Raises TimeoutError after READY_WITHIN seconds, and ProcessEnded if a process has ended.
        """
        deadline = time.monotonic() + READY_WITHIN
        while True:
            self.check()
            try:
                if holds():
                    return
                problem = "no"
            except (OSError, ApiError) as error:
                problem = str(error)
            if time.monotonic() > deadline:
                raise TimeoutError(
                    f"waited {READY_WITHIN:.0f} s until {what}: {problem}; see the logs in {self.directory}"
                )
            time.sleep(POLL)

    def _namespaced(self) -> list[Resource]:
        found = [resource for version in self.api.api_versions() for resource in self.api.resources(version)]
        return [resource for resource in found if resource.namespaced]

    def _delete_all(self, resource: Resource, namespace: str) -> list[str]:
        """Requests the deletion of all objects of one type; returns the paths of the objects that existed."""
        path = resource.path(namespace)
        items = self.api.get(path)["items"] if "list" in resource.verbs else []
        if items:
            self.api.delete(path)
        return [f"{path}/{item['metadata']['name']}" for item in items]


def _administrator(pki: certificates.Certificates) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(pki.ca))
    context.load_cert_chain(pki.admin, pki.admin_key)
    return context


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write_kubeconfig(path: Path, url: str, ca: Path, user: dict[str, str], namespace: str) -> None:
    name = "local"
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority": str(ca)}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
