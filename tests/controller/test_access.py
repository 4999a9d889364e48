"""Each object asks with its own credentials before it gets what another one has: for every kind of credential.

The servers are nginx, versitygw and docker-registry. Those without rights are an object without a Secret, one whose
Secret is wrong, one whose Secret is for another host, one that knows the digest, and objects of another namespace.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support import buckets, nginx, registry
from tests.support.ggufs import write_gguf
from tests.support.programs import eventually
from tests.support.registry import GGUF, PASSWORD, USER, Pusher, sha256
from tests.support.stand import CLAIM, Stand

MIB = 1024**2
SIZE = 32 * MIB
LIMIT = MIB
"""Bytes per second of the object that comes first: its transfer runs until another one joins that has no limit."""
HOSTS, RECONCILE_AT = "models.rbee.dev/hosts", "models.rbee.dev/reconcileAt"
CANARY = "right-canary-0123456789"
WRONG = "wrong-canary-0123456789"
BEARER = f'if ($http_authorization != "Bearer {CANARY}") {{ return 401; }}'
OLLAMA = "application/vnd.ollama.image.model"
LOCATIONS = f"""
location /bearer/ {{ {BEARER} }}
location /header/ {{ if ($http_x_jfrog_art_api != {CANARY}) {{ return 403; }} }}
location /query/ {{ if ($arg_sig != {CANARY}) {{ return 403; }} }}
"""
Data = dict[str, str]


@dataclass(frozen=True)
class Protected:
    """A model at a server that asks for a credential, `right` and `wrong` as the data of a Secret, for `host`."""

    name: str
    ref: str
    right: Data
    wrong: Data
    host: str
    secret_type: str = "Opaque"


@dataclass(frozen=True)
class Servers:
    """The models, and the flags of an operator that may ask their servers and has a slot for each."""

    models: list[Protected]
    flags: tuple[str, ...]


def docker(host: str, password: str) -> Data:
    return {".dockerconfigjson": json.dumps({"auths": {host: {"username": USER, "password": password}}})}


def on_the_web(url: str) -> list[Protected]:
    basic = {"username": "reader", "password": "basic-canary"}
    kinds: dict[str, tuple[Data, Data]] = {
        "private": (basic, {**basic, "password": WRONG}),
        "bearer": ({"token": CANARY}, {"token": WRONG}),
        "header": ({"header.X-JFrog-Art-Api": CANARY}, {"header.X-JFrog-Art-Api": WRONG}),
        "query": ({"query": f"?sv=1&sig={CANARY}"}, {"query": f"sv=1&sig={WRONG}"}),
    }
    return [Protected(name, f"{url}/{name}/m.gguf", right, wrong, url) for name, (right, wrong) in kinds.items()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write_gguf(tmp_path_factory.mktemp("model") / "m.gguf", size=SIZE).read_bytes()


@pytest.fixture
def servers(tmp_path: Path, model: bytes) -> Iterator[Servers]:
    files, data = tmp_path / "files", tmp_path / "bucket"
    own = [tmp_path / name for name in ("registry", "ollama", "before")]
    for directory in (
        *(files / name for name in ("private", "bearer", "header", "query")),
        data,
        *own,
    ):
        directory.mkdir(parents=True)
    for file in files.iterdir():
        (file / "m.gguf").write_bytes(model)
    with (
        nginx.serving(files, tmp_path, LOCATIONS) as web,
        buckets.versity(data) as bucket,
        registry.running(own[0], protected=True) as url,
        registry.running(own[1]) as behind,
        nginx.before(int(behind.rpartition(":")[2]), own[2], BEARER) as ollama,
    ):
        bucket.put("models")
        bucket.put("models/m.gguf", model)
        pusher = Pusher(url, "team/tiny", (USER, PASSWORD))
        for tag in ("docker", "login"):
            pusher.artifact(tag, [pusher.blob(model, GGUF)])
        pusher = Pusher(behind, "library/tiny")
        pusher.artifact("v1", [pusher.blob(model, OLLAMA)])
        host = url.removeprefix("http://")
        keys = {"AWS_ACCESS_KEY_ID": bucket.keys.key_id, "AWS_SECRET_ACCESS_KEY": bucket.keys.secret}
        login = {"username": USER, "password": PASSWORD}
        found = [
            *on_the_web(web),
            Protected("bucket", "s3://models/m.gguf", keys, {**keys, "AWS_SECRET_ACCESS_KEY": WRONG}, bucket.url),
            Protected("ollama", "ollama:tiny:v1", {"token": CANARY}, {"token": WRONG}, f"http://127.0.0.1:{ollama}"),
            Protected("login", f"oci://{host}/team/tiny:login", login, {**login, "password": WRONG}, url),
            Protected(
                "docker",
                f"oci://{host}/team/tiny:docker",
                docker(host, PASSWORD),
                docker(host, WRONG),
                url,
                "kubernetes.io/dockerconfigjson",
            ),
        ]
        endpoints = (f"--endpoint=s3={bucket.url}", f"--endpoint=ollama=http://127.0.0.1:{ollama}")
        yield Servers(found, ("--allow-host=127.0.0.1", *endpoints, f"--slots={len(found)}"))


def test_nothing_is_shared_with_an_object_whose_own_credentials_are_refused(
    bench: Stand, servers: Servers, model: bytes
) -> None:
    with bench.neighbour(f"{bench.namespace}-other") as other:
        bench.start_operator(*servers.flags, other.store)
        for one in servers.models:
            ask(bench, one, "member", secret(bench, one, "right", one.right), maxBytesPerSecond=LIMIT)
        members = [f"{one.name}-member" for one in servers.models]
        eventually(lambda: all(bytes_of(bench, name) for name in members), "bytes come for all of them")
        strangers = [each for one in servers.models for each in apply_strangers(bench, other, one, model)]
        are_refused(strangers)
        for one in servers.models:
            assert bench.ready(f"{one.name}-member")["reason"] == "Downloading", "the others were refused while it ran"
            ask(bench, one, "second", f"{one.name}-right")
        seconds = [f"{one.name}-second" for one in servers.models]
        for name in (*members, *seconds):
            found = bench.until(name, "Available")["status"]
            assert (found["attempts"], found["model"]["digest"]) == (1, sha256(model))
        assert len(bench.published()) == len(servers.models)
        for site, name in strangers:
            site.patch(name, annotations={RECONCILE_AT: "now"})
        eventually(lambda: all(was_tried_again(*one) for one in strangers), "all have asked once more")
        are_refused(strangers)
        assert other.published() == []
        assert other.catalog() == {}
        assert {key.rpartition(".")[0] for key in bench.catalog()} == {*members, *seconds}
        shown = json.dumps([everything(bench), everything(other)]) + bench.operator_output()
    assert "canary" not in shown


def secret(bench: Stand, one: Protected, name: str, data: Data, hosts: str | None = None) -> str:
    """Makes a Secret for `hosts`, the server itself without them. Returns its name."""
    metadata = {"name": f"{one.name}-{name}", "namespace": bench.namespace, "annotations": {HOSTS: hosts or one.host}}
    made = {"apiVersion": "v1", "kind": "Secret", "type": one.secret_type, "metadata": metadata, "stringData": data}
    bench.cluster.apply([made])
    return f"{one.name}-{name}"


def ask(bench: Stand, one: Protected, name: str, secret: str | None, **spec: object) -> tuple[Stand, str]:
    named = {"credentialsSecretRef": {"name": secret}} if secret else {}
    bench.apply(f"{one.name}-{name}", modelRef=one.ref, **named, **spec)
    return bench, f"{one.name}-{name}"


def apply_strangers(bench: Stand, other: Stand, one: Protected, model: bytes) -> Iterator[tuple[Stand, str]]:
    yield ask(bench, one, "anonymous", None)
    yield ask(bench, one, "wrong", secret(bench, one, "wrong", one.wrong))
    yield ask(bench, one, "elsewhere", secret(bench, one, "elsewhere", one.right, "other.example"))
    yield ask(bench, one, "knows-the-digest", None, digest=sha256(model))
    yield ask(other, one, "anonymous", None, destination={"claimName": CLAIM})
    yield ask(other, one, "names-the-secret", f"{one.name}-right", destination={"claimName": CLAIM})


def are_refused(strangers: list[tuple[Stand, str]]) -> None:
    """They learn nothing of the model: neither size nor digest nor path."""
    for site, name in strangers:
        site.until(name, "SecretNotFound" if name.endswith("names-the-secret") else "AccessDenied")
        status = site.get(name)["status"]
        assert not {"model", "progress", "startTime"} & set(status), status
        assert not {"Available", "Downloading", "Queued"} & set(site.history.reasons(name))


def was_tried_again(site: Stand, name: str) -> bool:
    status: Data = site.get(name)["status"]
    return status.get("lastHandledReconcileAt") == "now"


def bytes_of(bench: Stand, name: str) -> int:
    return int(bench.get(name)["status"].get("progress", {}).get("bytes", 0))


def everything(site: Stand) -> list[object]:
    """All that a user of the namespace can read who may not read Secrets."""
    objects = site.path("").rstrip("/")
    return [
        site.cluster.api.get(objects),
        site.cluster.api.get(f"/api/v1/namespaces/{site.namespace}/events"),
        site.catalog(),
    ]
