"""Starts what serves the model: nginx as a hub, Debian's docker-registry, the Versity gateway.

Called by `scenes`. What is asked for there is in `origins`.
"""

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from benchmarks.sources import front, origins
from benchmarks.sources.origins import BUCKET, OLLAMA, REGION, TAG, Origin
from benchmarks.transfer import hub
from benchmarks.transfer.hub import COMMIT, Hub
from benchmarks.transfer.model import FILE, REPOSITORY, Model
from model_provisioner.domain.credentials.sigv4 import presigned
from model_provisioner.domain.model_files.layers import OLLAMA_MODEL
from tests.support import buckets, registry

_PUT_SECONDS = 300
_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Servers:
    """`registry` is its host and port; `scratch` an empty directory."""

    model: Model
    scratch: Path
    hub: Hub
    registry: str
    bucket: buckets.Server

    @property
    def origins(self) -> list[Origin]:
        """Without a front; what is sent is not counted exactly, or not at all."""
        bucket = origins.of_bucket(self.bucket.url, self.bucket.keys)
        return [*origins.of_hub(self.hub), bucket, origins.of_registry(self.registry, self.model)]

    @contextlib.contextmanager
    def counted(self) -> Iterator[list[Origin]]:
        """What is sent is counted: by another hub, and by a front before the registry and the bucket."""
        directory = self.scratch / "counted"
        directory.mkdir()
        with (
            hub.running(self.model, directory, exact=True, locations=_locations) as web,
            self._front_of_bucket(None, 0) as bucket,
            self._front_of_registry(None, 0) as blobs,
        ):
            yield [*origins.of_hub(web), bucket.origin, blobs.origin]

    @contextlib.contextmanager
    def expiring(self, gate: front.Gate, bytes_per_connection: int) -> Iterator["Fronted"]:
        """The registry or the bucket, whose tokens or addresses expire."""
        before = self._front_of_registry if gate.tokens else self._front_of_bucket
        with before(gate, bytes_per_connection) as found:
            yield found

    @contextlib.contextmanager
    def _front_of_bucket(self, gate: front.Gate | None, rate: int) -> Iterator["Fronted"]:
        with front.running(self.scratch / "front-bucket", self.bucket.url, gate, rate) as it:
            yield Fronted(origins.of_bucket(it.url, self.bucket.keys, it.content_sent), it)

    @contextlib.contextmanager
    def _front_of_registry(self, gate: front.Gate | None, rate: int) -> Iterator["Fronted"]:
        with front.running(self.scratch / "front-registry", f"http://{self.registry}", gate, rate) as it:
            yield Fronted(origins.of_registry(it.host, self.model, it.content_sent), it)


@dataclass(frozen=True, slots=True)
class Fronted:
    origin: Origin
    front: front.Front


@contextlib.contextmanager
def running(model: Model, scratch: Path) -> Iterator[Servers]:
    """All servers, each with the model, within the block."""
    blobs, objects = scratch / "blobs", scratch / "objects"
    for directory in (blobs, objects):
        directory.mkdir()
    _link_blob(blobs / "registry/docker/registry/v2", model)
    with (
        hub.running(model, scratch, locations=_locations) as web,
        registry.running(blobs) as registry_url,
        buckets.versity(objects, REGION) as bucket,
    ):
        layer = {"mediaType": registry.GGUF, "digest": f"sha256:{model.sha256}", "size": model.size}
        registry.Pusher(registry_url, REPOSITORY).artifact(TAG, [layer])
        bucket.put(BUCKET)
        _put_object(bucket, model)
        yield Servers(model, scratch, web, registry_url.removeprefix("http://"), bucket)


def _link_blob(root: Path, model: Model) -> None:
    """Puts the model into the storage of a registry, as distribution's registry/storage/paths.go names it."""
    blob = root / "blobs/sha256" / model.sha256[:2] / model.sha256
    link = root / "repositories" / REPOSITORY / "_layers/sha256" / model.sha256
    for directory in (blob, link):
        directory.mkdir(parents=True)
    (blob / "data").symlink_to(model.path)
    (link / "link").write_text(f"sha256:{model.sha256}")


def _put_object(bucket: buckets.Server, model: Model) -> None:
    """As a client does that keeps the digest in the object's metadata."""
    headers = {"x-amz-meta-sha256": model.sha256}
    url = f"{bucket.url}/{BUCKET}/{FILE}"
    signed = presigned("PUT", url, bucket.keys, bucket.region, time.time(), _PUT_SECONDS, {}, headers)
    headers["Content-Length"] = str(model.size)
    with model.path.open("rb") as file:
        pieces = iter(lambda: file.read(_PIECE), b"")
        httpx.put(signed, content=pieces, headers=headers, timeout=_PUT_SECONDS).raise_for_status()


def _locations(web: Hub) -> str:
    """The answers of ModelScope's API (as `tests.support.hub` has them) and of Ollama's registry."""
    model, blob = web.model, f"sha256:{web.model.sha256}"
    commits = {"Code": 200, "Success": True, "Data": {"Commit": [{"Id": COMMIT}], "TotalCount": 1}}
    entry = {"Name": FILE, "Path": FILE, "Type": "blob", "Size": model.size, "Sha256": model.sha256}
    files = {"Code": 200, "Success": True, "Data": {"Files": [entry]}}
    layer = {"mediaType": OLLAMA_MODEL, "digest": blob, "size": model.size}
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": blob, "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": registry.DOCKER_MANIFEST, "config": config, "layers": [layer]}
    api, ollama = f"/api/v1/models/{REPOSITORY}", f"/v2/library/{OLLAMA}"
    return f"""
    location = {api}/commits {{ default_type application/json; return 200 '{json.dumps(commits)}'; }}
    location = {api}/repo/files {{ default_type application/json; return 200 '{json.dumps(files)}'; }}
    location = {api}/repo {{ return 302 {web.content_url}; }}
    location {ollama}/manifests/ {{ default_type {registry.DOCKER_MANIFEST}; return 200 '{json.dumps(manifest)}'; }}
    location {ollama}/blobs/ {{ return 307 {web.content_url}; }}
    """
