"""DNS rebinding: without tokens, the gateway answers only at its own names."""

from pathlib import Path

import pytest

from model_provisioner.gateway.board import Board
from model_provisioner.settings.gateway import GatewaySettings
from tests.gateway.streaming import PROGRESS
from tests.gateway.test_serving import gateway

SERVICE = "model-provisioner.models.svc"
EVIL = (
    "evil.example",
    "evil.example:8081",
    "localhost.evil.example",
    f"{SERVICE}.evil.example",
    "127.0.0.1.evil.example",
)
OWN = (
    "localhost:8081",
    "LOCALHOST",
    "localhost.",
    "models.localhost",
    "127.0.0.1:9",
    "10.2.3.4",
    "[::1]:8081",
    "[fd00::1]",
)


@pytest.mark.parametrize("host", EVIL)
async def test_a_page_that_binds_its_name_to_the_gateway_starts_no_download(tmp_path: Path, host: str) -> None:
    async with gateway(tmp_path, Board(), anonymous_writes=True, allowed_host=[SERVICE]) as (client, server):
        answer = await client.post("/v1/models/download", json={"model_ref": "hf:a/b"}, headers={"Host": host})
        assert answer.status == 421
        document = await answer.json(content_type=None)
        assert document["title"] == "MisdirectedRequest"
        assert "gateway.allowedHosts" in document["detail"]
        assert server.requests == []


@pytest.mark.parametrize("path", ["/", "/openapi.json", "/v1/models", "/v1/models/downloads", PROGRESS])
async def test_it_reads_nothing_either(tmp_path: Path, path: str) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        assert (await client.get(path, headers={"Host": "evil.example"})).status == 421


@pytest.mark.parametrize("host", [*OWN, SERVICE, f"{SERVICE}:8081", "team.models.example.com"])
async def test_the_gateways_own_names_are_served(tmp_path: Path, host: str) -> None:
    async with gateway(tmp_path, Board(), allowed_host=[SERVICE, "*.models.example.com"]) as (client, _):
        assert (await client.get("/v1/models", headers={"Host": host})).status == 200


@pytest.mark.parametrize("path", ["/readyz", "/metrics"])
async def test_probes_and_metrics_are_served_at_any_name(tmp_path: Path, path: str) -> None:
    async with gateway(tmp_path, Board()) as (client, _):
        assert (await client.get(path, headers={"Host": "model-provisioner-0.pods"})).status == 200


async def test_with_tokens_any_name_is_served(tmp_path: Path) -> None:
    async with gateway(tmp_path, Board(), auth="token") as (client, _):
        assert (await client.get("/openapi.json", headers={"Host": "models.example.com"})).status == 200


@pytest.mark.parametrize("wrong", ["https://models.example.com", "models.example.com:80", "*", "a b", ""])
def test_a_wrong_name_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="without scheme and port"):
        GatewaySettings(auth="none", allowed_host=[wrong])
