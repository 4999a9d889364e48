"""The API and its description in /openapi.json: the same calls, and every answer as described."""

import subprocess
import sys
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from model_provisioner.gateway.api.calls import CALLS, routes
from model_provisioner.gateway.api.openapi import openapi
from model_provisioner.gateway.app import make_app
from model_provisioner.gateway.board import Board
from model_provisioner.kube.client import KubeApi
from model_provisioner.settings.gateway import GatewaySettings
from tests.gateway.caller import Desk
from tests.kube.watch_server import WatchServer, serving

STREAM = "/v1/models/download/progress"
# A ref or a spec may fit the description and still be refused, by the parser or by the API server.
LEFT_OUT = "positive_data_acceptance"


async def unused(_request: web.Request) -> web.Response:
    raise AssertionError


async def test_what_is_served_is_described_and_the_other_way_round(tmp_path: Path) -> None:
    async with serving(WatchServer([500], []), tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        app = make_app(api, Board(), {}, GatewaySettings(base_path="/base"))
        await api.close()
    served = {
        (route.method.lower(), route.resource.canonical.removeprefix("/base"))
        for route in app.router.routes()
        if route.resource and route.method != "HEAD" and "/v1/" in route.resource.canonical
    }
    described = openapi("/base", with_tokens=True)
    assert served == {(method, path) for path, methods in described["paths"].items() for method in methods}
    assert described["servers"] == [{"url": "/base"}]


@pytest.mark.parametrize("wrong", [{}, {"getDownload": unused, "getNothing": unused}], ids=["missing", "extra"])
def test_calls_and_handlers_that_do_not_match_are_refused(wrong: dict[str, Handler]) -> None:
    calls = [call for call in CALLS if call.operation_id == "getDownload"]
    with pytest.raises(ValueError, match=r"do not match: get(Download|Nothing)$"):
        routes(wrong, calls)


@pytest.mark.parametrize("with_tokens", [True, False])
def test_tokens_are_described_if_they_are_required(*, with_tokens: bool) -> None:
    described = openapi("", with_tokens=with_tokens)
    assert ("security" in described) == ("securitySchemes" in described["components"]) == with_tokens


def test_no_call_answers_other_than_described(desk: Desk, tmp_path: Path) -> None:
    """Schemathesis generates valid and invalid calls, and compares every answer with the description.

    Its calls wait for no model: `test_local` has the tests of waiting.
    """
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text('[parameters]\n"query.wait" = "0s"\n')
    desk.apply("done", "hf:acme/done")
    desk.tell("done", "Available", done=1000)
    desk.until_known("done")
    token = desk.cluster.token(desk.namespace, "editor")
    options = [
        f"{desk.url}/openapi.json",
        f"--header=Authorization: Bearer {token}",
        f"--exclude-path={STREAM}",  # it does not end; `stream` has its tests
        f"--exclude-checks={LEFT_OUT}",
        "--max-examples=60",
        "--generation-deterministic",
        "--suppress-health-check=all",
        "--no-color",
    ]
    program = Path(sys.executable).with_name("schemathesis")
    command = [str(program), f"--config-file={configuration}", "run", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-20_000:]
