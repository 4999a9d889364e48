"""The HTTP API with a real API server: the effect of each call, and its answer if it is refused."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from aiohttp.test_utils import TestClient, TestServer

from model_provisioner.gateway.app import make_app
from model_provisioner.gateway.board import Board
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.reflector import Reflector
from model_provisioner.settings.gateway import GatewaySettings
from tests.gateway.caller import Desk, started
from tests.kube.watch_server import WatchServer, listing, serving
from tests.support.programs import eventually

START = "/v1/models/download"


def test_a_post_creates_the_object_as_the_caller_and_the_same_ref_meets_it(desk: Desk) -> None:
    editor = desk.caller("editor")
    first = editor.call("POST", START, json={"model_ref": "hf://acme/tiny", "spec": {"suspend": True}})
    assert first.status_code == 202
    answer = first.json()
    assert (answer["status"], answer["namespace"], answer["state"]) == ("started", desk.namespace, "Resolving")
    assert first.headers["Location"] == f"/v1/models/downloads/{answer['download_id']}"
    stored = desk.cluster.api.get(desk.path(answer["name"]))
    assert stored["metadata"]["uid"] == answer["download_id"]
    assert (stored["spec"]["modelRef"], stored["spec"]["suspend"]) == ("hf:acme/tiny", True)

    again = editor.call(
        "POST", START, json={"model_ref": "https://huggingface.co/acme/tiny", "spec": {"suspend": True}}
    )
    assert (again.status_code, again.json()["download_id"]) == (202, answer["download_id"])
    other = editor.call("POST", START, json={"model_ref": "hf:acme/tiny", "spec": {"suspend": False, "priority": 3}})
    assert (other.status_code, other.json()["differing"]) == (409, ["priority", "suspend"])


def test_twenty_posts_at_once_give_one_object(desk: Desk) -> None:
    editor = desk.caller("editor")
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: editor.call("POST", START, json={"model_ref": "hf:acme/one"}), range(20)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["download_id"] for answer in answers}) == 1


def test_a_ready_model_is_answered_with_its_path_and_a_stalled_one_tried_again(desk: Desk) -> None:
    editor = desk.caller("editor")
    name = started(editor, {"model_ref": "hf:acme/tiny"})["name"]
    desk.tell(name, "SourceNotFound", error="no such repository")
    assert editor.call("POST", START, json={"model_ref": "hf:acme/tiny"}).status_code == 202
    assert "models.rbee.dev/reconcileAt" in desk.cluster.api.get(desk.path(name))["metadata"]["annotations"]
    desk.cluster.api.merge(f"{desk.path(name)}/status", {"status": None})
    desk.tell(name, "Available", done=1000)
    answer = editor.call("POST", START, json={"model_ref": "hf:acme/tiny"})
    assert (answer.status_code, answer.json()["status"]) == (200, "complete")
    assert answer.json()["path"] == f"hf/acme/{name}/{name}.Q4_K_M.gguf"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "model_ref"),
        ({"model_ref": "hf:acme"}, "<owner>/<repo>"),
        ({"model_ref": "gs://a/b"}, "model ref"),
        ({"model_ref": "hf:a/b", "size": 1}, "size"),
        ({"model_ref": "hf:a/b", "namespace": "elsewhere"}, "namespace"),
        ({"model_ref": "hf:a/b", "spec": {"connections": 99}}, "spec.connections"),
        ({"model_ref": "hf:a/b", "name": "Not A Name"}, "metadata.name"),
    ],
)
def test_a_bad_request_is_answered_with_the_wrong_field(desk: Desk, body: dict[str, object], says: str) -> None:
    answer = desk.caller("editor").call("POST", START, json=body)
    assert answer.status_code in {400, 422}
    assert answer.headers["Content-Type"].startswith("application/problem+json")
    assert answer.json()["status"] == answer.status_code
    assert says in answer.json()["detail"]


def test_a_body_that_is_no_json_or_too_long_is_refused(desk: Desk) -> None:
    editor = desk.caller("editor")
    as_json = {"Content-Type": "application/json"}
    assert editor.call("POST", START, content=b"{", headers=as_json).status_code == 400
    assert editor.call("POST", START, json={"model_ref": "x" * 100_000}).status_code == 413
    assert editor.call("GET", "/nothing").json()["title"] == "NotFound"


def test_the_list_has_what_is_active_and_the_rest_on_request(desk: Desk) -> None:
    desk.apply("going", "hf:acme/going")
    desk.apply("done", "hf:acme/done")
    desk.tell("going", "Downloading", done=250)
    desk.tell("done", "Available", done=1000)
    reader = desk.caller("reader")
    eventually(
        lambda: [one["name"] for one in reader.call("GET", "/v1/models/downloads").json()["downloads"]] == ["going"],
        "only the active one is listed",
    )
    going = desk.until_known("going")
    assert (going["bytes"], going["total"], going["percent"], going["state"]) == (250, 1000, 25, "Downloading")
    assert desk.until_known("done")["path"] == "hf/acme/done/done.Q4_K_M.gguf"
    shown = reader.call("GET", f"/v1/models/downloads/{going['download_id']}")
    assert shown.json() == going
    assert reader.call("GET", "/v1/models/downloads/none").status_code == 404


def test_the_base_model_is_told_with_a_model(desk: Desk) -> None:
    reader = desk.caller("reader")
    desk.apply("tuned", "hf:acme/tuned")
    desk.apply("plain", "hf:acme/plain")
    desk.tell("tuned", "Available", done=1000, base_model="acme/base-1B")
    desk.tell("plain", "Available", done=1000)
    eventually(lambda: len(reader.call("GET", "/v1/models").json()["models"]) == 2, "both are listed")
    told = {one["name"]: one["base_model"] for one in reader.call("GET", "/v1/models").json()["models"]}
    assert told == {"tuned": "acme/base-1B", "plain": None}
    assert reader.call("GET", "/v1/models/local?model_ref=hf:acme/tuned").json()["base_model"] == "acme/base-1B"


def test_the_projector_of_a_model_is_told_wherever_its_path_is(desk: Desk) -> None:
    reader, editor = desk.caller("reader"), desk.caller("editor")
    desk.apply("plain", "hf:acme/tiny:Q4_K_M")
    created = started(editor, {"model_ref": "hf:acme/tiny:Q4_K_M", "spec": {"projector": "Auto"}})
    name, path = created["name"], "hf/acme/tiny/tiny.Q4_K_M.gguf"
    assert desk.cluster.api.get(desk.path(name))["spec"]["projector"] == "Auto"
    desk.tell("plain", "Available", done=1000, path=path)
    desk.tell(name, "Available", done=1000, path=path, projector="hf/acme/tiny/mmproj-F16.gguf")
    eventually(lambda: len(reader.call("GET", "/v1/models").json()["models"]) == 2, "both are listed")
    found = reader.call("GET", "/v1/models/local?model_ref=hf:acme/tiny:Q4_K_M").json()
    assert (found["path"], found["projector"]) == (path, "hf/acme/tiny/mmproj-F16.gguf")
    told = {
        one["name"]: one["projector"] for one in reader.call("GET", "/v1/models/downloads?all=true").json()["downloads"]
    }
    assert told == {"plain": None, name: "hf/acme/tiny/mmproj-F16.gguf"}
    again = editor.call("POST", START, json={"model_ref": "hf:acme/tiny:Q4_K_M"}).json()
    assert (again["status"], again["projector"]) == ("complete", "hf/acme/tiny/mmproj-F16.gguf")
    other = editor.call("POST", START, json={"model_ref": "hf:acme/tiny:Q4_K_M", "spec": {"projector": "None"}})
    assert (other.status_code, other.json()["differing"]) == (409, ["projector"])


def test_models_are_claimed_only_when_ready_and_found_by_their_quantisation(desk: Desk) -> None:
    reader = desk.caller("reader")
    desk.apply("tiny", "hf:acme/tiny")
    desk.tell("tiny", "Downloading", done=10)
    desk.until_known("tiny")
    assert reader.call("GET", "/v1/models").json() == {"models": []}
    missing = reader.call("GET", "/v1/models/local?model_ref=hf:acme/tiny")
    assert (missing.status_code, missing.json()["title"]) == (404, "NotFound")
    desk.tell("tiny", "Available", done=1000)
    eventually(lambda: reader.call("GET", "/v1/models").json()["models"], "the model is listed")
    names = ("hf:acme/tiny", "hf:acme/tiny@main", "hf:Acme/Tiny", "hf:Acme/Tiny@main")
    for ref in (*names, "hf:acme/tiny:q4_k_m", "hf:acme/tiny@main:q4_k_m", "hf:acme/tiny:tiny.Q4_K_M.gguf"):
        found = reader.call("GET", f"/v1/models/local?model_ref={ref}")
        assert (found.status_code, found.json()["path"]) == (200, "hf/acme/tiny/tiny.Q4_K_M.gguf")
        assert found.json()["claim"] == "models"
    assert reader.call("GET", "/v1/models/local?model_ref=hf:acme/tiny:Q8_0").status_code == 404
    assert reader.call("GET", "/v1/models/local").status_code == 400


def test_a_ref_means_the_operators_own_hub_unless_an_endpoint_is_named(desk: Desk) -> None:
    """The same ref at another hub names other bytes, so it is not joined, found or deleted by the ref alone."""
    editor, mirror = desk.caller("editor"), "https://mirror.example/hub"
    wanted = {"model_ref": "hf:acme/tiny", "spec": {"endpoint": mirror}}
    name = started(editor, wanted)["name"]
    desk.tell(name, "Available", done=1000, path=f"hubs/mirror.example-0123/acme/{name}/{name}.Q4_K_M.gguf")
    eventually(lambda: desk.until_known(name)["path"], "the gateway knows that it is ready")

    plain = editor.call("POST", START, json={"model_ref": "hf:acme/tiny"})
    assert (plain.status_code, plain.json()["differing"]) == (409, ["endpoint"])
    same = {"model_ref": "hf:acme/tiny", "spec": {"endpoint": "https://Mirror.example:443/hub/"}}
    assert editor.call("POST", START, json=same).status_code == 200
    for method, path in (("GET", "/v1/models/local"), ("DELETE", "/v1/models")):
        missing = editor.call(method, f"{path}?model_ref=hf:acme/tiny")
        assert (missing.status_code, missing.json()["title"]) == (404, "NotFound")
        assert f"from {mirror}: name it as `endpoint`" in missing.json()["detail"]
        assert editor.call(method, f"{path}?model_ref=hf:acme/tiny&endpoint=https://other.example").status_code == 404
    found = editor.call("GET", f"/v1/models/local?model_ref=hf:acme/tiny&endpoint={mirror}/").json()
    assert (found["name"], found["endpoint"]) == (name, mirror)
    assert editor.call("DELETE", f"/v1/models?model_ref=hf:acme/tiny&endpoint={mirror}").status_code == 202


def test_an_endpoint_that_is_the_operators_own_hub_changes_nothing(desk: Desk) -> None:
    """The gateway does not know that hub; the path of the model tells it."""
    reader = desk.caller("reader")
    desk.apply("tiny", "hf:acme/tiny", endpoint="https://hub.example")
    desk.tell("tiny", "Available", done=1000)
    desk.until_known("tiny", "Available")
    assert reader.call("GET", "/v1/models/local?model_ref=hf:acme/tiny").json()["name"] == "tiny"


def test_a_model_whose_object_is_being_deleted_is_not_claimed(desk: Desk) -> None:
    editor = desk.caller("editor")
    for name in ("going", "staying"):
        desk.apply(name, "hf:acme/same", destination={"claimName": "models"})
        desk.tell(name, "Available", done=1000)
        desk.until_known(name)
    eventually(lambda: len(editor.call("GET", "/v1/models").json()["models"]) == 2, "both are listed")
    desk.cluster.api.merge(desk.path("going"), {"metadata": {"finalizers": ["example.com/backup"]}})
    desk.cluster.api.delete(desk.path("going"))
    eventually(lambda: len(editor.call("GET", "/v1/models").json()["models"]) == 1, "one is listed")
    (listed,) = editor.call("GET", "/v1/models").json()["models"]
    assert listed["name"] == "staying"
    found = editor.call("GET", "/v1/models/local?model_ref=hf:acme/same")
    assert (found.status_code, found.json()["name"]) == (200, "staying")

    shown = {one["name"]: one for one in editor.call("GET", "/v1/models/downloads").json()["downloads"]}
    assert list(shown) == ["going"], "its end is still to come"
    going = shown["going"]
    assert (going["state"], going["message"], going["path"]) == ("Terminating", "being deleted", None)

    assert editor.call("DELETE", "/v1/models?model_ref=hf:acme/same").status_code == 202, "it names one object"
    missing = "/v1/models/local?model_ref=hf:acme/same"
    eventually(lambda: editor.call("GET", missing).status_code == 404, "none is ready")
    desk.cluster.api.merge(desk.path("going"), {"metadata": {"finalizers": None}})


def test_a_download_is_cancelled_as_the_caller(desk: Desk) -> None:
    desk.apply("unwanted", "hf:acme/unwanted")
    uid = desk.until_known("unwanted")["download_id"]
    answer = desk.caller("editor").call("DELETE", f"/v1/models/downloads/{uid}")
    assert answer.status_code == 202
    remaining = desk.cluster.api.get(desk.path("").rstrip("/"))["items"]
    assert remaining == []


def test_a_model_is_deleted_with_its_file_unless_another_download_has_it(desk: Desk) -> None:
    editor = desk.caller("editor")
    for name in ("one", "two"):
        desk.apply(name, "hf:acme/same", destination={"claimName": "models"})
        desk.cluster.api.merge(desk.path(name), {"metadata": {"finalizers": ["models.rbee.dev/operator"]}})
        desk.until_known(name)
    several = editor.call("DELETE", "/v1/models?model_ref=hf:acme/same")
    assert several.status_code == 409
    assert {one["name"] for one in several.json()["downloads"]} == {"one", "two"}

    desk.cluster.api.merge(desk.path("two"), {"metadata": {"finalizers": []}})
    desk.cluster.api.delete(desk.path("two"))
    eventually(lambda: editor.call("DELETE", "/v1/models?model_ref=hf:acme/same").status_code == 202, "one is left")
    stored = desk.cluster.api.get(desk.path("one"))
    assert stored["spec"]["reclaimPolicy"] == "Delete"
    assert stored["metadata"]["deletionTimestamp"]
    assert editor.call("DELETE", "/v1/models?model_ref=local:x.gguf").status_code == 409
    desk.cluster.api.merge(desk.path("one"), {"metadata": {"finalizers": []}})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"spec": {"conections": 4}}, "spec.conections"),
        ({"spec": {"modelRef": "hf:acme/other"}}, "spec.modelRef"),
        ({"spec": {"connections": "many"}}, "spec.connections"),
    ],
)
@pytest.mark.parametrize("there", [False, True], ids=["new", "there already"])
def test_a_field_that_is_wrong_is_never_dropped_in_silence(
    desk: Desk, body: dict[str, object], says: str, there: bool
) -> None:
    editor, wanted = desk.caller("editor"), {"model_ref": "hf:acme/tiny"}
    if there:
        assert editor.call("POST", START, json=wanted).status_code == 202
    answer = editor.call("POST", START, json={**wanted, **body})
    assert answer.status_code in {400, 422}, answer.text
    assert says in answer.json()["detail"]


@pytest.mark.parametrize("namespace", ["../../../../api/v1/namespaces/kube-system", "a/b", "a?b=c", "A", "-a", "a%2fb"])
async def test_a_namespace_that_is_none_never_reaches_an_address_of_the_api(tmp_path: Path, namespace: str) -> None:
    server = WatchServer([500], [])
    async with serving(server, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        app = make_app(api, Board(), {}, GatewaySettings(watch_namespace=[]))
        async with TestClient(TestServer(app)) as client:
            body, headers = {"model_ref": "hf:a/b", "namespace": namespace}, {"Authorization": "Bearer x"}
            answer = await client.post(START, json=body, headers=headers)
            assert answer.status == 400
            assert (await answer.json(content_type=None))["detail"].startswith("namespace:")
        await api.close()
    assert server.requests == []


def test_a_download_that_was_just_started_is_found_at_its_address(desk: Desk) -> None:
    editor = desk.caller("editor")
    for number in range(10):
        started = editor.call("POST", START, json={"model_ref": f"hf:acme/m{number}"})
        shown = editor.call("GET", started.headers["Location"])
        assert (shown.status_code, shown.json()["model_ref"]) == (200, f"hf:acme/m{number}")


def test_a_download_that_is_being_deleted_is_not_joined(desk: Desk) -> None:
    desk.apply("leaving", "hf:acme/tiny")
    desk.cluster.api.merge(desk.path("leaving"), {"metadata": {"finalizers": ["models.rbee.dev/operator"]}})
    desk.cluster.api.delete(desk.path("leaving"))
    answer = desk.caller("editor").call("POST", START, json={"model_ref": "hf:acme/tiny", "name": "leaving"})
    assert (answer.status_code, answer.json()["title"]) == (409, "BeingDeleted")
    assert int(answer.headers["Retry-After"]) > 0
    desk.cluster.api.merge(desk.path("leaving"), {"metadata": {"finalizers": []}})


def test_an_old_page_deletes_no_namesake(desk: Desk) -> None:
    """The id is that of one object: an id from before must not delete a new object with the same name."""
    desk.apply("same", "hf:acme/tiny")
    old = desk.until_known("same")["download_id"]
    desk.cluster.api.delete(desk.path("same"))
    new = desk.apply("same", "hf:acme/tiny")["metadata"]["uid"]
    assert desk.caller("editor").call("DELETE", f"/v1/models/downloads/{old}").status_code in {404, 409}
    assert desk.cluster.api.get(desk.path("same"))["metadata"]["uid"] == new


async def test_what_was_started_is_shown_although_the_watch_is_silent(tmp_path: Path) -> None:
    """The returned object is in the list and in the stream at once, without a watch event."""
    created = {
        "metadata": {"name": "m", "namespace": "models", "uid": "uid-m", "resourceVersion": "11"},
        "spec": {"modelRef": "hf:acme/m"},
    }
    server = WatchServer([listing(10), created], [[None]])
    async with serving(server, tmp_path) as kubeconfig:
        api, board = await KubeApi.connect(kubeconfig), Board()
        reflector = Reflector(api, "/things")
        reflector.add_listener(board.on_event)
        watching = asyncio.create_task(reflector.run())
        await reflector.synced.wait()
        settings = GatewaySettings(auth="none", anonymous_writes=True, default_namespace="models")
        app = make_app(api, board, {None: reflector}, settings)
        async with TestClient(TestServer(app)) as client:
            started = await client.post(START, json={"model_ref": "hf:acme/m"})
            shown = await client.get(started.headers["Location"])
            assert (await shown.json())["model_ref"] == "hf:acme/m"
            listed = await (await client.get("/v1/models/downloads")).json()
            assert [one["name"] for one in listed["downloads"]] == ["m"]
        watching.cancel()
        await api.close()
