"""Models in registries (Debian's docker-registry): Ready, in the catalog, and private for those without a login."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import registry, tars
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.models import private_content
from tests.support.programs import eventually
from tests.support.registry import GGUF, PASSWORD, USER, Pusher
from tests.support.stand import Stand

MODEL, OTHER = tiny_gguf(), tiny_gguf(seed=1)
PROJECTOR = tiny_projector()
OLLAMA = "application/vnd.ollama.image.model"


@pytest.fixture
def private(bench: Stand, tmp_path: Path) -> Iterator[Pusher]:
    """A registry with a password; its Secrets say that it may have the login without TLS."""
    with registry.running(tmp_path, protected=True) as url:
        docker_secret(bench, "reader", url, PASSWORD, url)
        docker_secret(bench, "wrong", url, "wrong-canary", url)
        docker_secret(bench, "with-tls", url, PASSWORD)
        bench.secret("basic", {"username": USER, "password": PASSWORD}, {"models.rbee.dev/hosts": url})
        bench.start_operator("--allow-host=127.0.0.1")
        yield Pusher(url, "team/tiny", (USER, PASSWORD))


def docker_secret(bench: Stand, name: str, url: str, password: str, hosts: str | None = None) -> None:
    """As `kubectl create secret docker-registry` makes it."""
    auths = {url.removeprefix("http://"): {"username": USER, "password": password}}
    annotations = {"models.rbee.dev/hosts": hosts} if hosts else {}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": bench.namespace, "annotations": annotations},
        "stringData": {".dockerconfigjson": json.dumps({"auths": auths})},
    }
    bench.cluster.apply([secret])


def ask(bench: Stand, name: str, ref: str, secret: str | None = None) -> None:
    bench.apply(name, modelRef=ref, **({"credentialsSecretRef": {"name": secret}} if secret else {}))


def test_a_private_artifact_is_ready_only_for_an_object_with_a_login_of_its_own(bench: Stand, private: Pusher) -> None:
    digest = private.artifact("q4", [private.blob(MODEL, GGUF)])
    host = private.url.removeprefix("http://")
    ref = f"oci://{host}/team/tiny:q4"
    ask(bench, "reader", ref, "reader")
    found = bench.until("reader", "Available")["status"]["model"]
    assert found["path"] == f"oci/{host.replace(':', '+')}/team/tiny/q4/model.gguf"
    assert found["revision"] == digest
    assert found["digest"] == registry.sha256(MODEL)
    assert bench.catalog()["reader.path"] == found["path"]
    ends = {
        "anonymous": (None, "without a credential"),
        "wrong": ("wrong", "with the credential that was sent"),
        "with-tls": ("with-tls", "without a credential"),
    }
    for name, (secret, says) in ends.items():
        ask(bench, name, ref, secret)
        bench.until(name, "AccessDenied")
        assert says in bench.ready(name)["message"]
    ask(bench, "second", ref, "basic")
    bench.until("second", "Available")
    assert len(bench.published()) == 1
    no_secret_is_shown(bench)


def test_an_artifact_without_a_model_says_why(bench: Stand, private: Pusher) -> None:
    private.artifact("tar", [private.blob(b"x", "application/vnd.cncf.model.weight.v1.tar")])
    ask(bench, "archive", f"oci://{private.url.removeprefix('http://')}/team/tiny:tar", "reader")
    bench.until("archive", "UnsupportedSource")
    assert "push the .gguf file as a layer of its own" in bench.ready("archive")["message"]


def test_models_in_archives_are_ready_with_the_digest_of_the_file(bench: Stand, private: Pusher) -> None:
    modelpack = tars.tar(("README.md", b"# Tiny"), ("tiny.Q4_0.gguf", MODEL))
    kitops = gzip.compress(tars.tar(("weights/", b""), ("weights/other.gguf", OTHER)))
    private.artifact("modelpack", [private.blob(modelpack, "application/vnd.cncf.model.weight.v1.tar")])
    private.artifact("kitops", [private.blob(kitops, "application/vnd.kitops.modelkit.model.v1.tar+gzip")])
    wanted = {"modelpack": ("tiny.Q4_0.gguf", MODEL), "kitops": ("other.gguf", OTHER)}
    for tag in wanted:
        ask(bench, tag, f"oci://{private.url.removeprefix('http://')}/team/tiny:{tag}", "reader")
    for tag, (name, content) in wanted.items():
        found = bench.until(tag, "Available")["status"]["model"]
        assert found["path"].endswith(f"/team/tiny/{tag}/{name}")
        assert (found["digest"], found["sizeBytes"]) == (registry.sha256(content), len(content))
        assert (bench.volume / found["path"]).read_bytes() == content
        assert bench.catalog()[f"{tag}.path"] == found["path"]


def test_a_model_of_ollama_is_ready(bench: Stand, tmp_path: Path) -> None:
    with registry.running(tmp_path) as url:
        pusher = Pusher(url, "library/tiny")
        digest = pusher.artifact("1b", [pusher.blob(OTHER, OLLAMA)])
        bench.start_operator("--allow-host=127.0.0.1", f"--endpoint=ollama={url}")
        ask(bench, "model", "ollama:tiny:1b")
        found = bench.until("model", "Available")["status"]["model"]
    assert (found["path"], found["revision"]) == ("ollama/library/tiny/1b/model.gguf", digest)
    assert bench.catalog()["model.path"] == found["path"]
    assert (bench.volume / found["path"]).read_bytes() == OTHER


def test_status_and_catalog_tell_the_projector(bench: Stand, tmp_path: Path) -> None:
    """Of an artifact of Docker Model Runner, and of a model of Ollama."""
    with registry.running(tmp_path) as url:
        refs = {"docker": (f"oci://{url.removeprefix('http://')}/ai/sees", GGUF, "application/vnd.docker.ai.mmproj")}
        refs["ollama"] = ("ollama:ai/sees", OLLAMA, "application/vnd.ollama.image.projector")
        bench.start_operator("--allow-host=127.0.0.1", f"--endpoint=ollama={url}")
        for name, (ref, model, projector) in refs.items():
            pusher = Pusher(url, "ai/sees")
            pusher.artifact("latest", [pusher.blob(MODEL, model), pusher.blob(PROJECTOR, projector)])
            bench.apply(name, modelRef=ref, projector="Auto")
            found = bench.until(name, "Available")["status"]["model"]
            path = found["path"].replace("model.gguf", "mmproj.gguf")
            assert found["projector"] == {"path": path}
            assert [(file["path"], file["digest"]) for file in found["files"]] == [
                (found["path"], registry.sha256(MODEL)),
                (path, registry.sha256(PROJECTOR)),
            ]
            assert found["digest"] == registry.sha256(MODEL)
            assert bench.catalog()[f"{name}.projector"] == path
            assert json.loads(bench.catalog()[f"{name}.json"])["projector"] == {"path": path}
            assert (bench.volume / path).read_bytes() == PROJECTOR


def test_the_settings_of_ollama_are_in_the_catalog_also_after_a_restart_without_the_registry(
    bench: Stand, tmp_path: Path
) -> None:
    texts = {
        "template": "{{ .Prompt }}\n",
        "params": '{"stop":["<|end|>"],"num_ctx":4096}',
        "system": "Be brief.",
        "license": "MIT",
    }
    with registry.running(tmp_path) as url:
        pusher = Pusher(url, "library/tiny")
        layers = [pusher.blob(text.encode(), OLLAMA.replace("model", name)) for name, text in texts.items()]
        pusher.artifact("latest", [pusher.blob(MODEL, OLLAMA), *layers])
        flags = ("--allow-host=127.0.0.1", f"--endpoint=ollama={url}")
        operator = bench.start_operator(*flags)
        bench.apply("model", modelRef="ollama:tiny")
        found = bench.until("model", "Available")["status"]["model"]["ollama"]
    assert found == {"template": texts["template"], "parameters": texts["params"], "system": texts["system"]}
    assert json.loads(bench.catalog()["model.json"])["ollama"] == found
    operator.stop()
    bench.cluster.api.delete(f"/api/v1/namespaces/{bench.namespace}/configmaps/model-catalog")
    bench.start_operator(*flags)
    eventually(lambda: "model.json" in bench.catalog(), "the catalog is written again")
    assert json.loads(bench.catalog()["model.json"])["ollama"] == found


def no_secret_is_shown(bench: Stand) -> None:
    objects = bench.cluster.api.get(f"/apis/models.rbee.dev/v1alpha1/namespaces/{bench.namespace}/modeldownloads")
    events = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/events")
    shown = (
        json.dumps([objects, events, bench.catalog()])
        + bench.operator_output()
        + private_content(bench.volume).decode("latin-1")
    )
    assert "canary" not in shown
