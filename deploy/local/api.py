"""A small synchronous client of the Kubernetes API: requests with JSON bodies, and `apply` of any manifest.

Called by `cluster`, the tests and the demo, which therefore need no kubectl. It has no code for a particular kind. The
operator and the gateway use the asynchronous client in `model_provisioner.kube`.
"""

import json
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

FIELD_MANAGER = "deploy-local"
TIMEOUT = 30.0  # seconds for one request

Document = dict[str, Any]


class ApiError(Exception):
    """The API server refused the request. `code` is the HTTP status, `reason` that of Kubernetes, such as Forbidden."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource type of the API discovery. `base` is the path of its group and version, such as /apis/apps/v1."""

    base: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str]

    def path(self, namespace: str | None, name: str = "") -> str:
        scope = f"/namespaces/{namespace}" if self.namespaced else ""
        return "/".join(part for part in (self.base + scope, self.plural, name) if part)


@dataclass(frozen=True, slots=True)
class Api:
    """The API at `url`. The client certificate in `tls` or the bearer token says which user the requests come from."""

    url: str
    tls: ssl.SSLContext = field(repr=False)
    token: str | None = field(default=None, repr=False)

    def get(self, path: str, accept: str = "application/json") -> Document:
        return self.request("GET", path, accept=accept)

    def exists(self, path: str) -> bool:
        """Whether there is an object at `path`. Raises ApiError for another answer than 404."""
        try:
            self.get(path)
        except ApiError as error:
            if error.code == 404:
                return False
            raise
        return True

    def create(self, path: str, document: Document) -> Document:
        return self.request("POST", path, document)

    def replace(self, path: str, document: Document) -> Document:
        return self.request("PUT", path, document)

    def merge(self, path: str, patch: Document) -> Document:
        """A JSON merge patch (RFC 7386): null removes a field, a list is replaced as a whole."""
        return self.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def delete(self, path: str) -> Document:
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> Document:
        """Returns the answer, a JSON object. Raises ApiError if the status is 400 or more, OSError if none comes."""
        code, text = self.exchange(method, path, body, content_type=content_type, accept=accept)
        if code >= 400:
            raise _error(code, text)
        document: Document = json.loads(text)
        return document

    def exchange(self, method: str, path: str, body: object, *, content_type: str, accept: str) -> tuple[int, str]:
        """Sends one request on a new connection, so any thread may call it. Returns the HTTP status and the body."""
        headers = {"Accept": accept, "Content-Type": content_type}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        address = urlsplit(self.url)
        connection = HTTPSConnection(address.hostname or "", address.port, timeout=TIMEOUT, context=self.tls)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def apply(self, manifests: Path | Document | Iterable[Document], namespace: str = "default") -> list[Document]:
        """Creates or changes objects by server-side apply, and returns them as the server stored them.

        `manifests` is a YAML file, a directory (its *.yaml files, sorted by name) or documents. `namespace` applies to
        objects that have none. Raises ApiError.
        """
        return [self._apply(document, namespace) for document in _documents(manifests)]

    def _apply(self, document: Document, namespace: str) -> Document:
        metadata = document["metadata"]
        resource = self.resource(document["apiVersion"], document["kind"])
        path = resource.path(metadata.get("namespace", namespace), metadata["name"])
        query = f"?fieldManager={FIELD_MANAGER}&force=true"
        return self.request("PATCH", path + query, document, content_type="application/apply-patch+yaml")

    def resource(self, api_version: str, kind: str) -> Resource:
        """The resource type of a manifest. Raises ApiError (404) if the server does not know it."""
        for resource in self.resources(api_version):
            if resource.kind == kind:
                return resource
        raise ApiError(404, "NotFound", f"the server knows no {kind} in {api_version}")

    def resources(self, api_version: str) -> list[Resource]:
        """The resource types of one group and version, without subresources."""
        base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        return [
            Resource(base, item["kind"], item["name"], item["namespaced"], frozenset(item["verbs"]))
            for item in self.get(base)["resources"]
            if "/" not in item["name"]
        ]

    def api_versions(self) -> list[str]:
        """The preferred version of every group; the core group comes first."""
        return ["v1", *(group["preferredVersion"]["groupVersion"] for group in self.get("/apis")["groups"])]


def _documents(manifests: Path | Document | Iterable[Document]) -> list[Document]:
    if isinstance(manifests, Path):
        files = sorted(manifests.glob("*.yaml")) if manifests.is_dir() else [manifests]
        return [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
    return [dict(manifests)] if isinstance(manifests, Mapping) else list(manifests)


def _error(code: int, text: str) -> ApiError:
    """A Kubernetes Status object as an exception. Any other body, such as that of a stopping server, is the message."""
    try:
        status = json.loads(text)
        return ApiError(code, status.get("reason", ""), status.get("message", text))
    except (ValueError, AttributeError):
        return ApiError(code, "", text)
