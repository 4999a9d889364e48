"""The rights for each call: real service accounts and tokens at a real API server."""

import time
from collections.abc import Iterator

import pytest

from deploy.local.cluster import Cluster
from tests.gateway.caller import Caller, Desk, grant, opened
from tests.support.tokens import reissued

pytestmark = pytest.mark.xdist_group("gateway-rights")  # one process makes what all of them use

ALL = ["get", "list", "watch", "create", "patch", "delete"]
CALLS = {
    "start": ("POST", "/v1/models/download", {"model_ref": "hf:acme/new"}),
    "start elsewhere": ("POST", "/v1/models/download?namespace={namespace}", {"model_ref": "hf:acme/other"}),
    "stream": ("GET", "/v1/models/download/progress", None),
    "stream of one": ("GET", "/v1/models/download/progress?download_id={id}&namespace={namespace}", None),
    "ticket": ("POST", "/v1/models/download/progress/ticket", None),
    "list": ("GET", "/v1/models/downloads?namespace={namespace}&all=true", None),
    "show": ("GET", "/v1/models/downloads/{id}", None),
    "describe": ("GET", "/v1/models/downloads/{id}/details", None),
    "change": ("PATCH", "/v1/models/downloads/{id}", {"spec": {"priority": 1}}),
    "cancel": ("DELETE", "/v1/models/downloads/{victim}", None),
    "models": ("GET", "/v1/models", None),
    "find": ("GET", "/v1/models/local?model_ref=hf:acme/kept", None),
    "delete": ("DELETE", "/v1/models?model_ref=hf:acme/victim-2", None),
}
REFUSED = dict.fromkeys(CALLS, 401)
FORBIDDEN = dict.fromkeys(CALLS, 403)
READING = {**dict.fromkeys(CALLS, 200), "ticket": 201}
WRITES = {"start": 403, "start elsewhere": 403, "change": 403, "cancel": 403, "delete": 403}
MATRIX = {
    "no token": REFUSED,
    "forged": REFUSED,
    "expired": REFUSED,
    "account is gone": REFUSED,
    "no rights": FORBIDDEN,
    "rights in another namespace": FORBIDDEN,
    "reader": {**READING, **WRITES},
    "editor": {**READING, **dict.fromkeys(WRITES, 202), "change": 200},
}


@pytest.fixture(scope="module")
def house(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One gateway for all tests: no test changes the state that another one sees."""
    for name in ("rights", "rights-elsewhere"):
        cluster.create_namespace(name)
    grant(cluster, "rights-elsewhere", "editor", ALL)
    with opened(cluster, "rights", tmp_path_factory.mktemp("rights")) as desk:
        desk.apply("kept", "hf:acme/kept")
        desk.tell("kept", "Available", done=1000)
        yield desk


@pytest.fixture(scope="module")
def tokens(house: Desk) -> dict[str, str | None]:
    cluster, key = house.cluster, house.cluster.directory / "pki" / "accounts.key"
    valid, past = cluster.token("rights", "editor"), int(time.time()) - 3600
    cluster.create_service_account("rights", "gone")
    gone = cluster.token("rights", "gone")
    cluster.api.delete("/api/v1/namespaces/rights/serviceaccounts/gone")
    return {
        "no token": None,
        "forged": valid[:-8] + "AAAAAAAA",
        "expired": reissued(valid, key, iat=past - 600, nbf=past - 600, exp=past),
        "account is gone": gone,
        "no rights": cluster.token("rights", "stranger"),
        "rights in another namespace": cluster.token("rights-elsewhere", "editor"),
        "reader": cluster.token("rights", "reader"),
        "editor": valid,
    }


@pytest.mark.parametrize("who", MATRIX)
def test_each_call_of_each_caller(house: Desk, tokens: dict[str, str | None], who: str) -> None:
    """The calls are in the order of the table. The downloads that the editor deletes are created for each caller."""
    for victim in ("victim-1", "victim-2"):
        house.apply(victim, f"hf:acme/{victim}")
    ids = {name: house.until_known(name)["download_id"] for name in ("kept", "victim-1", "victim-2")}
    caller = Caller(house.url, tokens[who])
    answers = {}
    for name, (method, path, body) in CALLS.items():
        address = path.format(namespace="rights", id=ids["kept"], victim=ids["victim-1"])
        answers[name] = caller.status(method, address, body)
    assert answers == MATRIX[who]


def test_an_expired_token_is_refused_only_for_its_age(house: Desk, tokens: dict[str, str | None]) -> None:
    """The same token, signed again with the same key, valid for an hour, is accepted."""
    key, valid = house.cluster.directory / "pki" / "accounts.key", tokens["editor"]
    assert valid is not None
    renewed = reissued(valid, key, exp=int(time.time()) + 3600)
    assert Caller(house.url, renewed).status("GET", "/v1/models", None) == 200


@pytest.mark.parametrize("who", ["no token", "forged", "expired", "account is gone"])
def test_a_refused_token_is_answered_with_how_to_get_one(house: Desk, tokens: dict[str, str | None], who: str) -> None:
    refused = Caller(house.url, tokens[who]).call("GET", "/v1/models")
    assert refused.headers["WWW-Authenticate"] == "Bearer"
    assert refused.headers["Content-Type"].startswith("application/problem+json")
    assert "kubectl create token" in refused.json()["detail"]


def test_a_refusal_does_not_show_what_is_in_the_namespace(house: Desk, tokens: dict[str, str | None]) -> None:
    stranger = Caller(house.url, tokens["rights in another namespace"])
    kept = house.until_known("kept")["download_id"]
    there, nowhere = (stranger.call("GET", f"/v1/models/downloads/{one}") for one in (kept, "never-was"))
    assert there.status_code == nowhere.status_code == 403
    assert there.json() == nowhere.json()
