"""A model in a bucket (moto, and versitygw): Ready, in the catalog, each object with an access key of its own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.cluster import Cluster
from tests.support import buckets
from tests.support.buckets import Server
from tests.support.ggufs import tiny_gguf
from tests.support.models import private_content
from tests.support.pod_agent import pod_agent
from tests.support.pod_node import PodNode
from tests.support.programs import free_port
from tests.support.stand import Stand

MODEL = tiny_gguf(size=3 * 1024**2)
HOSTS = "models.rbee.dev/hosts"


@pytest.fixture(params=["moto", "versity"])
def server(bench: Stand, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    with buckets.moto() if request.param == "moto" else buckets.versity(tmp_path) as running:
        running.put("models")
        running.put("models/team/m.Q4_K_M.gguf", MODEL)
        running.put("models/team/m.Q8_0.gguf", tiny_gguf(seed=1))
        keys = {"AWS_ACCESS_KEY_ID": running.keys.key_id, "AWS_SECRET_ACCESS_KEY": running.keys.secret}
        bench.secret("reader", keys)
        bench.secret("wrong", {**keys, "AWS_SECRET_ACCESS_KEY": "wrong-canary-0123456789"})
        bench.secret("elsewhere", keys, {HOSTS: "other.example"})
        bench.start_operator("--allow-host=127.0.0.1", f"--endpoint=s3={running.url}")
        yield running


def test_a_model_in_a_bucket_is_ready_and_in_the_catalog(bench: Stand, server: Server) -> None:
    ref = "s3://models/team/:Q4_K_M"
    bench.apply("reader", modelRef=ref, credentialsSecretRef={"name": "reader"})
    found = bench.until("reader", "Available")["status"]["model"]
    assert found["path"] == f"s3/127.0.0.1+{server.url.rpartition(':')[2]}/models/team/m.Q4_K_M.gguf"
    assert (found["digestSource"], found["sizeBytes"]) == ("Computed", len(MODEL))
    assert found["revision"].startswith('"')
    assert (bench.volume / found["path"]).read_bytes() == MODEL
    assert found["path"] in json.dumps(bench.catalog())
    bench.apply("second", modelRef="s3://models/team/m.Q4_K_M.gguf", credentialsSecretRef={"name": "reader"})
    bench.until("second", "Available")
    assert len(bench.published()) == 1
    if server.has_policies:  # the server that checks signatures
        ends = {
            "anonymous": (None, "without an access key: give one in a Secret"),
            "wrong": ("wrong", "does not accept the signature"),
            "elsewhere": ("elsewhere", "without an access key"),
        }
        for name, (secret, says) in ends.items():
            bench.apply(name, modelRef=ref, **({"credentialsSecretRef": {"name": secret}} if secret else {}))
            bench.until(name, "AccessDenied")
            assert says in bench.ready(name)["message"]
    no_secret_is_shown(bench)


def no_secret_is_shown(bench: Stand) -> None:
    objects = bench.cluster.api.get(f"/apis/models.rbee.dev/v1alpha1/namespaces/{bench.namespace}/modeldownloads")
    events = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/events")
    shown = (
        json.dumps([objects, events, bench.catalog()])
        + bench.operator_output()
        + private_content(bench.volume).decode("latin-1")
    )
    assert "canary" not in shown
    assert "X-Amz-Signature" not in shown


def test_an_object_without_a_secret_is_read_with_the_key_of_the_pod(bench: Stand, tmp_path: Path) -> None:
    """Only from the buckets that the administrator lists; an object with a Secret uses that, which moto lets in."""
    with buckets.moto() as server, pod_agent(server.keys, tmp_path / "token") as agent:
        for bucket in ("models", "others"):
            server.put(bucket)
            server.put(f"{bucket}/m.gguf", MODEL)
        bench.secret("own", {"AWS_ACCESS_KEY_ID": "AKIDOWN", "AWS_SECRET_ACCESS_KEY": "own-canary-0123456789"})
        flags = ["--allow-host=127.0.0.1", f"--endpoint=s3={server.url}", "--ambient-credentials=models"]
        bench.start_operator(*flags, environment=agent.environment)
        bench.apply("unlisted", modelRef="s3://others/m.gguf")
        bench.apply("own", modelRef="s3://models/", credentialsSecretRef={"name": "own"})
        bench.until("own", "Available")
        bench.until("unlisted", "AccessDenied")
        assert "without an access key: give one in a Secret" in bench.ready("unlisted")["message"]
        assert agent.asked == []
        bench.apply("listed", modelRef="s3://models/m.gguf")
        found = bench.until("listed", "Available")["status"]["model"]
        assert (bench.volume / found["path"]).read_bytes() == MODEL
        assert agent.asked == [200], "once, for the resolution and for the addresses"
        no_secret_is_shown(bench)


def test_a_worker_pod_reads_with_the_key_of_the_operators_pod(bench: Stand, cluster: Cluster, tmp_path: Path) -> None:
    """The environment of the worker pod has none: the operator signs the addresses."""
    claim, address = tmp_path / "team", f"127.0.0.1:{free_port()}"
    claim.mkdir()
    with buckets.moto() as server, pod_agent(server.keys, tmp_path / "token") as agent:
        server.put("models")
        server.put("models/m.gguf", MODEL)
        workers = [f"--worker-listen={address}", f"--worker-connect={address}", "--worker-image=example/mp:1"]
        sources = ["--allow-host=127.0.0.1", f"--endpoint=s3={server.url}", "--ambient-credentials=models"]
        with PodNode(cluster, bench.namespace, tmp_path, {"team": claim}) as node:
            bench.start_operator(*workers, *sources, environment=agent.environment)
            bench.apply("m", modelRef="s3://models/m.gguf", destination={"claimName": "team"})
            found = bench.until("m", "Available")["status"]["model"]
            assert (claim / found["path"]).read_bytes() == MODEL
            assert "X-Amz-Signature" not in node.output()
            assert agent.asked == [200]
        no_secret_is_shown(bench)
