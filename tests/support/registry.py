"""Debian's docker-registry on loopback, and a pusher of artifacts as the usual programs make them.

Called by tests of `oci:` and `ollama:` models. The pusher speaks the registry's HTTP API (distribution-spec, "Push").
"""

import contextlib
import functools
import hashlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support import tools
from tests.support.programs import eventually, free_port, is_listening

USER, PASSWORD = "reader", "registry-canary"
_BCRYPT = "$2y$05$abcdefghijklmnopqrstuuBhh9CmDErShyspNW.nrRsBL/5r0Z5LC"
"""That of PASSWORD."""
_CONFIGURATION = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {directory}/registry}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_AUTH = "auth: {{htpasswd: {{realm: models, path: {directory}/users}}}}\n"

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
GGUF = "application/vnd.docker.ai.gguf.v3"
RAW = "application/vnd.cncf.model.weight.v1.raw"
FILEPATH, TITLE = "org.cncf.model.filepath", "org.opencontainers.image.title"

Document = dict[str, object]


@contextlib.contextmanager
def running(directory: Path, *, protected: bool = False) -> Iterator[str]:
    """The URL of an empty registry with ranges; `protected`: USER may use it with PASSWORD (Basic)."""
    program, port = tools.require("docker-registry"), free_port()
    configuration = directory / "registry.yml"
    text = _CONFIGURATION + (_AUTH if protected else "")
    configuration.write_text(text.format(directory=directory, port=port))
    (directory / "users").write_text(f"{USER}:{_BCRYPT}\n")
    with (
        (directory / "registry.log").open("wb") as log,
        subprocess.Popen([program, "serve", configuration], stdout=log, stderr=log) as process,
    ):
        try:
            eventually(lambda: is_listening(port), "the registry listens")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(60)


@functools.lru_cache(maxsize=16)
def sha256(content: bytes) -> str:
    """Of the same large content for each test: it is hashed once."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def descriptor(content: bytes, media_type: str, **annotations: str) -> Document:
    found: Document = {"mediaType": media_type, "digest": sha256(content), "size": len(content)}
    return {**found, "annotations": annotations} if annotations else found


def manifest(layers: Sequence[Mapping[str, object]], config: Mapping[str, object], **more: object) -> bytes:
    """A manifest of an artifact; `more` are fields of it, or replace one."""
    document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers, **more}
    return json.dumps(document).encode()


def index(children: Sequence[Mapping[str, object]]) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": children}).encode()


@dataclass
class Pusher:
    """Pushes to `repository` of the registry at `url`."""

    url: str
    repository: str
    login: tuple[str, str] | None = None

    def blob(self, content: bytes, media_type: str, **annotations: str) -> Document:
        """Pushes a layer, and returns what a manifest says of it."""
        found = descriptor(content, media_type, **annotations)
        with httpx.Client(auth=self.login, timeout=30) as client:
            begun = client.post(f"{self.url}/v2/{self.repository}/blobs/uploads/").raise_for_status()
            where = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": str(found["digest"])})
            client.put(where, content=content).raise_for_status()
        return found

    def manifest(self, reference: str, body: bytes) -> str:
        """Pushes a manifest or an index, and returns its digest."""
        kind = json.loads(body)["mediaType"]
        url = f"{self.url}/v2/{self.repository}/manifests/{reference}"
        httpx.put(url, content=body, headers={"Content-Type": kind}, auth=self.login, timeout=30).raise_for_status()
        return sha256(body)

    def artifact(self, tag: str, layers: Sequence[Mapping[str, object]], **more: object) -> str:
        """Pushes an artifact of `layers` that were pushed. Returns its digest."""
        config = self.blob(b"{}", "application/vnd.oci.empty.v1+json")
        return self.manifest(tag, manifest(layers, config, **more))
