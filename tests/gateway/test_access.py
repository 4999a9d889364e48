"""Read access: the reviews of the API server, how long they are cached, and what a refusal does. And wrong settings."""

import argparse
import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from deploy.local.cluster import Cluster
from model_provisioner.gateway import command
from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.app import make_app
from model_provisioner.gateway.board import Board
from model_provisioner.gateway.problems import Problem
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.settings.gateway import GatewaySettings
from tests.gateway.caller import GROUP, grant, opened, rule
from tests.gateway.clock import Clock
from tests.gateway.streaming import serving
from tests.kube import watch_server
from tests.support.programs import eventually

RBAC = "/apis/rbac.authorization.k8s.io/v1"
ALLOWED = {"status": {"allowed": True}}
DENIED = {"status": {"allowed": False}}


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[KubeApi]:
    """A client with the administrator's rights. The token of a caller must be used instead of these."""
    connected = await KubeApi.connect(cluster.kubeconfig)
    yield connected
    await connected.close()


def bearing(token: str) -> web.Request:
    return make_mocked_request("GET", "/v1/models", headers={"Authorization": f"Bearer {token}"})


async def test_a_review_is_cached_for_a_minute(cluster: Cluster, namespace: str, api: KubeApi) -> None:
    clock = Clock()
    authorizer = Authorizer(api, namespace, open_to_all=False, monotonic=clock)
    grant(cluster, namespace, "reader", ["list"])
    request = bearing(cluster.token(namespace, "reader"))
    assert await authorizer.readable_namespace(request, "list", None) == namespace
    cluster.api.delete(f"{RBAC}/namespaces/{namespace}/rolebindings/reader")
    eventually(lambda: not cluster.allows(namespace, "reader", rule(["list"])), "the API server knows of it")
    clock.seconds = 59
    assert await authorizer.readable_namespace(request, "list", namespace) == namespace
    clock.seconds = 61
    with pytest.raises(Problem, match=f"may not list modeldownloads.{GROUP} in namespace {namespace}") as refused:
        await authorizer.readable_namespace(request, "list", namespace)
    assert refused.value.status == 403


async def test_two_thousand_streams_need_at_most_a_hundred_reviews_a_minute(
    cluster: Cluster, namespace: str, api: KubeApi
) -> None:
    """Twenty accounts that may read one namespace: one review each for the cluster, then only for the namespace."""
    clock, minutes, accounts = Clock(), 5, 20
    authorizer = Authorizer(api, namespace, open_to_all=False, monotonic=clock)
    for number in range(accounts):
        grant(cluster, namespace, f"reader-{number}", ["watch"])
    requests = [bearing(cluster.token(namespace, f"reader-{number}")) for number in range(accounts)]
    grants = await asyncio.gather(
        *(authorizer.grant(requests[number % accounts], None, "watch", None) for number in range(2000))
    )
    assert {grant.namespace for grant in grants} == {namespace}
    assert len({grant.identity for grant in grants}) == accounts
    for _ in range(minutes * 4):
        clock.seconds += 15
        assert all(await asyncio.gather(*(grant.is_valid() for grant in grants)))
    assert authorizer.reviews <= 100 * minutes
    assert authorizer.reviews == 2 * accounts + minutes * accounts


async def test_rights_are_per_verb_and_per_token(cluster: Cluster, namespace: str, api: KubeApi) -> None:
    authorizer = Authorizer(api, namespace, open_to_all=False)
    grant(cluster, namespace, "lister", ["list"])
    cluster.create_service_account(namespace, "stranger")
    lister = bearing(cluster.token(namespace, "lister"))
    assert await authorizer.readable_namespace(lister, "list", None) == namespace
    for request, verb in ((lister, "watch"), (bearing(cluster.token(namespace, "stranger")), "list")):
        with pytest.raises(Problem) as refused:
            await authorizer.readable_namespace(request, verb, None)
        assert refused.value.status == 403


async def test_a_cluster_wide_reader_sees_all_namespaces_or_the_requested_one(
    cluster: Cluster, namespace: str, api: KubeApi
) -> None:
    authorizer = Authorizer(api, "elsewhere", open_to_all=False)
    cluster.create_service_account(namespace, "auditor")
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"audit-{namespace}"}
    common = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": f"audit-{namespace}"}}
    subject = {"kind": "ServiceAccount", "name": "auditor", "namespace": namespace}
    cluster.apply(
        [
            {**common, "kind": "ClusterRole", "rules": [rule(["list", "watch"])]},
            {**common, "kind": "ClusterRoleBinding", "roleRef": role, "subjects": [subject]},
        ]
    )
    everywhere = rule(["watch"])
    eventually(lambda: cluster.allows(namespace, "auditor", everywhere, within=""), "the API server knows of it")
    request = bearing(cluster.token(namespace, "auditor"))
    assert await authorizer.readable_namespace(request, "watch", None) is None
    assert await authorizer.readable_namespace(request, "watch", "anywhere") == "anywhere"


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer  ", "Basic YTpi", "Bearer tökén"])
async def test_a_request_without_bearer_token_is_answered_with_how_to_get_one(api: KubeApi, value: str) -> None:
    authorizer = Authorizer(api, "default", open_to_all=False)
    request = make_mocked_request("GET", "/v1/models", headers={"Authorization": value})
    for ask in (authorizer.readable_namespace(request, "list", None), _writer(authorizer, request)):
        with pytest.raises(Problem, match="kubectl create token") as refused:
            await ask
        assert refused.value.status == 401


async def _writer(authorizer: Authorizer, request: web.Request) -> str | None:
    return authorizer.write_token(request)


@pytest.mark.parametrize("answer", [DENIED, 401, 403])
async def test_a_stream_ends_when_its_token_is_refused(tmp_path: Path, answer: dict[str, object] | int) -> None:
    reviews = watch_server.WatchServer([ALLOWED, answer], [])
    async with watch_server.serving(reviews, tmp_path) as kubeconfig:
        api, clock = await KubeApi.connect(kubeconfig), Clock()
        authorizer = Authorizer(api, "models", open_to_all=False, monotonic=clock)
        async with (
            serving(authorizer, heartbeat=0.05) as service,
            service.reading(Authorization="Bearer good-for-a-minute") as reader,
        ):
            await reader.until(b": heartbeat")
            clock.seconds = 61
            assert (await reader.to_the_end()).endswith(b": goodbye: this token may not watch any longer\n\n")
        await api.close()


async def test_an_api_server_that_does_not_answer_ends_no_stream(tmp_path: Path) -> None:
    reviews = watch_server.WatchServer([ALLOWED, 500], [])
    async with watch_server.serving(reviews, tmp_path) as kubeconfig:
        api, clock = await KubeApi.connect(kubeconfig), Clock()
        authorizer = Authorizer(api, "models", open_to_all=False, monotonic=clock)
        async with (
            serving(authorizer, heartbeat=0.05) as service,
            service.reading(Authorization="Bearer good") as reader,
        ):
            await reader.until(b": heartbeat")
            clock.seconds = 61
            asked = len(reviews.requests)
            await reader.until(b": heartbeat")
            await reader.until(b": heartbeat")
            assert len(reviews.requests) > asked
        await api.close()


async def test_nothing_is_answered_from_memory_before_the_first_list(tmp_path: Path) -> None:
    """An empty list would mean to a client that every download is deleted."""
    server = watch_server.WatchServer([500], [])
    async with watch_server.serving(server, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        reflectors: dict[str | None, Reflector] = {None: Reflector(api, "/things")}
        app = make_app(api, Board(), reflectors, GatewaySettings(auth="none"))
        async with TestClient(TestServer(app)) as client:
            for path in ("/v1/models", "/v1/models/downloads", "/v1/models/download/progress"):
                answer = await client.get(path)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert (await answer.json(content_type=None))["title"] == "NotReady"
            assert (await client.get("/readyz")).status == 503
            assert (await client.get("/healthz")).status == 200
            reflectors[None].synced.set()
            assert (await client.get("/readyz")).status == 200
            assert (await client.get("/v1/models")).status == 200
        await api.close()


def test_without_authentication_all_may_read_and_none_may_write(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    with opened(cluster, namespace, tmp_path, "--auth=none") as desk:
        nobody = desk.caller(None)
        assert nobody.call("GET", "/v1/models").json() == {"models": []}
        with nobody.stream() as stream:
            assert stream.next("sync").data == {"ids": []}
        somebody = {"Authorization": f"Bearer {cluster.token(namespace, 'editor')}"}
        for method, path in (("POST", "/v1/models/download"), ("DELETE", "/v1/models?model_ref=hf:a/b")):
            answer = nobody.call(method, path, headers=somebody)
            assert answer.status_code == 403
            assert "read-only" in answer.json()["detail"]
        assert "WARNING" in desk.program.output()
        assert "every caller" in desk.program.output()
        assert "START" not in desk.program.output()


def test_anonymous_writes_are_allowed_by_a_second_flag(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    rights = ["get", "create", "patch", "delete"]
    with opened(cluster, namespace, tmp_path, "--auth=none", "--anonymous-writes", more=rights) as desk:
        nobody = desk.caller(None)
        begun = nobody.call("POST", "/v1/models/download", json={"model_ref": "hf:acme/tiny"})
        assert begun.status_code == 202
        assert nobody.call("POST", "/v1/models/download", json={"model_ref": "hf:acme/tiny"}).status_code == 202
        assert nobody.call("DELETE", begun.headers["Location"]).status_code == 202
        assert "START AND DELETE" in desk.program.output()


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--anonymous-writes"], "--auth none"),
        (["--tls-cert=x"], "--tls-key"),
        (["--cors-origin=https://a.example/path"], "--cors-origin: 'https://a.example/path'"),
        (["--cors-origin=*"], "--cors-origin"),
        (["--base-path=models"], "--base-path"),
        (["--base-path=/models/"], "--base-path"),
        (["--max-streams=0"], "--max-streams"),
    ],
)
def test_wrong_settings_are_refused(flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    assert command.run(parser.parse_args(flags)) == 2
    assert re.search(says, capsys.readouterr().err)
