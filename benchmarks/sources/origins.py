"""One origin for each source: what is asked for the same file there, by our programs and by curl.

Called by `servers`, which starts what serves it. Knows how each kind of ref is spelled, and no process.
"""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.transfer import nginx
from benchmarks.transfer.hub import COMMIT, Hub
from benchmarks.transfer.model import FILE, REPOSITORY, Model
from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.credentials.sigv4 import presigned
from model_provisioner.domain.refs.refs import parse

BUCKET, TAG = "bench", "v1"
OLLAMA = "bench"
REGION = "us-east-1"
_URL_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Origin:
    """`name` is the scheme of `ref`, `server` what serves it, `url` where curl finds the bytes.

    `endpoint` is asked, None if the ref names the server itself. `sent` counts the bytes of the file that were sent, by
    answers that have ended; None if they can't be counted there. `digest` is what the user expects.
    """

    name: str
    server: str
    ref: str
    url: str = field(repr=False)
    sent: Callable[[], int] | None = None
    endpoint: str | None = None
    ca_file: Path | None = None
    keys: AwsKeys | None = None
    digest: str | None = None

    @property
    def asked(self) -> str:
        """The endpoint, or what the ref names in its place."""
        return self.endpoint or parse(self.ref).endpoint or ""

    @property
    def credentials(self) -> Credentials | None:
        return Credentials(None, (self.asked,), aws=self.keys) if self.keys else None

    @property
    def network(self) -> tuple[str, ...]:
        """The flags with which a program may connect to it."""
        trust = ("--ca-file", str(self.ca_file)) if self.ca_file else ()
        return ("--allow-host", "127.0.0.1", *trust)

    @property
    def environment(self) -> Mapping[str, str]:
        """Where `fetch` finds the access key."""
        if self.keys is None:
            return {}
        return {"AWS_ACCESS_KEY_ID": self.keys.key_id, "AWS_SECRET_ACCESS_KEY": self.keys.secret}

    def fetch(self, directory: Path) -> list[str]:
        """The command that downloads it into `directory`."""
        endpoint = ("--endpoint", f"{self.name}={self.endpoint}") if self.endpoint else ()
        digest = ("--digest", self.digest) if self.digest else ()
        program = (sys.executable, "-m", "model_provisioner.cli", "fetch")
        return [*program, self.ref, "--to", str(directory), *self.network, *endpoint, *digest]

    def curl(self, directory: Path) -> list[str]:
        trust = ("--cacert", str(self.ca_file)) if self.ca_file else ()
        flags = ("--silent", "--show-error", "--fail", "--location", *trust)
        return ["curl", *flags, "--output", str(directory / FILE), self.url]


def of_hub(hub: Hub) -> list[Origin]:
    """The sources that nginx serves, all from one content host; `https` without a hub in front of it."""
    name, version = f"{hub.host}:{hub.content_port}", f"sha256:{hub.model.sha256}"
    sent, endpoint, trust = hub.content_bytes_sent, hub.endpoint, hub.ca_file
    modelscope = f"{endpoint}/api/v1/models/{REPOSITORY}/repo?Revision={COMMIT}&FilePath={FILE}"
    ollama = f"{endpoint}/v2/library/{OLLAMA}/blobs/{version}"
    server = "nginx, TLS, a redirect to another origin"
    return [
        Origin("hf", server, f"hf:{REPOSITORY}", hub.url, sent, endpoint, trust),
        Origin("https", "nginx, TLS", f"https://{name}/{FILE}", hub.content_url, sent, None, trust, digest=version),
        Origin("modelscope", server, f"modelscope:{REPOSITORY}", modelscope, sent, endpoint, trust),
        Origin("ollama", server, f"ollama:{OLLAMA}", ollama, sent, endpoint, trust),
    ]


def of_registry(host: str, model: Model, sent: Callable[[], int] | None = None) -> Origin:
    """`host` is that of a registry without TLS, with its port."""
    url = f"http://{host}/v2/{REPOSITORY}/blobs/sha256:{model.sha256}"
    return Origin("oci", "docker-registry", f"oci://{host}/{REPOSITORY}:{TAG}", url, sent)


def of_bucket(url: str, keys: AwsKeys, sent: Callable[[], int] | None = None) -> Origin:
    """`url` is the endpoint of a server that speaks S3."""
    signed = presigned("GET", f"{url}/{BUCKET}/{FILE}", keys, REGION, time.time(), int(_URL_SECONDS))
    return Origin("s3", "versitygw", f"s3://{BUCKET}/{FILE}", signed, sent, url, keys=keys)


def content_sent(directory: Path) -> int:
    """Bytes of the file that the front in `directory` has sent: of the blob, or of the object."""
    answers = nginx.sent(directory)
    return sum(one.size for one in answers if one.is_content and (FILE in one.uri or "/blobs/" in one.uri))
