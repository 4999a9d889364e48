"""The last status of an object that is being deleted, while the API server answers badly or the object goes."""

from typing import Any, cast

import pytest

from model_provisioner.controller.reconcile.last_status import LastStatus
from model_provisioner.domain.lifecycle.events import Available, Started, Terminating
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import parse
from tests.gateway.streaming import document
from tests.support.samples import MODEL, NOW

READY = document("tiny", 7, Started(MODEL, 0), Available(MODEL))


class Server:
    """Has one object, and answers the first requests with `errors`."""

    def __init__(self, found: dict[str, Any], *errors: ApiError) -> None:
        self.found = found
        self.errors = list(errors)
        self.written: list[list[dict[str, Any]]] = []
        self.slept: list[float] = []

    async def get(self, _path: str) -> dict[str, Any]:
        self._fail()
        return self.found

    async def patch(self, _path: str, body: list[dict[str, Any]], kind: str) -> None:
        assert kind == "json"
        self._fail()
        self.written.append(body)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)

    async def tell(self) -> None:
        last = LastStatus(cast("KubeApi", self), lambda: NOW, self.sleep)
        await last.write(parse(READY), "going")


async def test_it_is_written_again_until_the_api_server_takes_it() -> None:
    server = Server(READY, ApiError(0, "Unreachable", "no answer"), ApiError(429, "TooManyRequests", "later", 3.0))
    await server.tell()
    ((test, add),) = server.written
    assert test["value"] == "uid-tiny"
    (ready,) = add["value"]["conditions"]
    assert (ready["status"], ready["reason"], ready["message"]) == ("False", "Terminating", "going")
    assert server.slept == [1.0, 3.0]


@pytest.mark.parametrize(
    "error", [ApiError(404, "NotFound", "gone"), ApiError(403, "Forbidden", "may not"), ApiError(422, "Invalid", "no")]
)
async def test_a_refusal_is_no_reason_to_keep_the_object(error: ApiError) -> None:
    server = Server(READY, error)
    await server.tell()
    assert (server.written, server.slept) == ([], [])


async def test_another_object_of_that_name_is_left_alone() -> None:
    server = Server({**READY, "metadata": {**READY["metadata"], "uid": "uid-new"}})
    await server.tell()
    assert server.written == []


async def test_what_is_said_already_is_not_written_again() -> None:
    server = Server(document("tiny", 8, Started(MODEL, 0), Available(MODEL), Terminating("going")))
    await server.tell()
    assert server.written == []
