"""A web server, a bucket and a registry that want secrets, with a ModelDownload for each way that it can end.

Called by the search for secrets in all outputs. Each secret is one word that is found wherever it is shown.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support import buckets, nginx, registry
from tests.support.ggufs import tiny_gguf
from tests.support.stand import Stand

HOSTS = "models.rbee.dev/hosts"
QUERY, HEADER, WRONG = "query-canary-5d41402abc4b", "header-canary-7d793037a076", "wrong-canary-b9ece18c950a"
SECRETS = (QUERY, HEADER, WRONG, "basic-canary", buckets.KEYS.secret, registry.PASSWORD)
_LOCATIONS = f"""
location /signed/ {{ if ($arg_sig != {QUERY}) {{ return 403; }} }}
location /keyed/ {{ if ($http_x_key != {HEADER}) {{ return 403; }} }}
location /echo/ {{ return 302 https://$arg_sig$http_x_key.example/$arg_sig?Signature=$arg_sig; }}
location /page/ {{ default_type text/html; return 200 '<html>$arg_sig</html>'; }}
"""


class Order(NamedTuple):
    ref: str
    reason: str
    secret: str


class Guarded(NamedTuple):
    """`flags` are those that the operator needs to reach the servers, `orders` the objects by name."""

    flags: tuple[str, ...]
    orders: dict[str, Order]


@contextlib.contextmanager
def guarded_sources(bench: Stand, directory: Path) -> Iterator[Guarded]:
    """Their Secrets are in the namespace of `bench`."""
    folders = {name: directory / name for name in ("web", "bucket", "registry")}
    for folder in folders.values():
        folder.mkdir()
    with contextlib.ExitStack() as stack:
        web = stack.enter_context(nginx.serving(_files(folders["web"]), folders["web"], _LOCATIONS))
        bucket = stack.enter_context(buckets.versity(folders["bucket"]))
        oci = stack.enter_context(registry.running(folders["registry"], protected=True))
        orders = _of_web(bench, web) | _of_bucket(bench, bucket) | _of_registry(bench, oci)
        yield Guarded(("--allow-host=127.0.0.1", f"--endpoint=s3={bucket.url}"), orders)


def _files(directory: Path) -> Path:
    for seed, name in enumerate(("private", "signed", "keyed")):
        (directory / name).mkdir()
        (directory / name / "m.gguf").write_bytes(tiny_gguf(seed=20 + seed))
    return directory


def _of_web(bench: Stand, url: str) -> dict[str, Order]:
    hosts = {HOSTS: url}
    bench.secret("basic", {"username": "reader", "password": "basic-canary"}, hosts)
    bench.secret("basic-wrong", {"username": "reader", "password": WRONG}, hosts)
    bench.secret("query", {"query": f"?sv=1&sig={QUERY}"}, hosts)
    bench.secret("header", {"header.X-Key": HEADER}, hosts)
    return {
        "web-good": Order(f"{url}/private/m.gguf", "Available", "basic"),
        "web-denied": Order(f"{url}/private/m.gguf", "AccessDenied", "basic-wrong"),
        "web-signed": Order(f"{url}/signed/m.gguf", "Available", "query"),
        "web-keyed": Order(f"{url}/keyed/m.gguf", "Available", "header"),
        "web-echo": Order(f"{url}/echo/m.gguf", "AddressNotAllowed", "query"),
        "web-echoed-header": Order(f"{url}/echo/h.gguf", "AddressNotAllowed", "header"),
        "web-page": Order(f"{url}/page/m.gguf", "NotGGUF", "query"),
    }


def _of_bucket(bench: Stand, server: buckets.Server) -> dict[str, Order]:
    server.put("models")
    server.put("models/m.gguf", tiny_gguf(seed=30))
    keys = {"AWS_ACCESS_KEY_ID": server.keys.key_id, "AWS_SECRET_ACCESS_KEY": server.keys.secret}
    bench.secret("aws", keys)
    bench.secret("aws-wrong", {**keys, "AWS_SECRET_ACCESS_KEY": WRONG, "AWS_SESSION_TOKEN": WRONG})
    return {
        "bucket-good": Order("s3://models/m.gguf", "Available", "aws"),
        "bucket-denied": Order("s3://models/m.gguf", "AccessDenied", "aws-wrong"),
        "bucket-missing": Order("s3://models/none.gguf", "SourceNotFound", "aws"),
    }


def _of_registry(bench: Stand, url: str) -> dict[str, Order]:
    pusher = registry.Pusher(url, "team/tiny", (registry.USER, registry.PASSWORD))
    pusher.artifact("v1", [pusher.blob(tiny_gguf(seed=31), registry.GGUF)])
    host = url.removeprefix("http://")
    for name, password in (("docker", registry.PASSWORD), ("docker-wrong", WRONG)):
        login = {"auths": {host: {"username": registry.USER, "password": password}}}
        bench.secret(name, {".dockerconfigjson": json.dumps(login)}, {HOSTS: url}, "kubernetes.io/dockerconfigjson")
    return {
        "registry-good": Order(f"oci://{host}/team/tiny:v1", "Available", "docker"),
        "registry-denied": Order(f"oci://{host}/team/tiny:v1", "AccessDenied", "docker-wrong"),
        "registry-missing": Order(f"oci://{host}/team/tiny:none", "SourceNotFound", "docker"),
    }
