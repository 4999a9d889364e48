"""Models in registries: which artifacts are read, who may read them, which host gets what, and wrong answers."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import Credentials, RegistryLogin
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    AmbiguousModel,
    DigestMismatch,
    IncompleteModel,
    NameResolutionFailed,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.transfer.http.client import open_client
from tests.support import registry
from tests.support.ggufs import tiny_gguf, write_gguf, write_split
from tests.support.registry import FILEPATH, GGUF, RAW, TITLE, Document, Pusher, descriptor
from tests.transfer.sources.token_registry import Answer, TokenRegistry, token_registry
from tests.transfer.sources.web import SETTINGS, Fetcher, sha256

MODEL, OTHER = tiny_gguf(), tiny_gguf(seed=1)
MIB = 1024 * 1024
LARGE = tiny_gguf(size=24 * MIB)  # in several ranges
ORAS = "application/vnd.oci.image.layer.v1.tar"
METADATA = "org.cncf.model.file.metadata+json"
PASSWORD = registry.PASSWORD


def ref_of(pusher: Pusher, end: str = ":v1") -> str:
    return f"oci://{pusher.url.removeprefix('http://')}/{pusher.repository}{end}"


SHAPES = {
    "Docker Model Runner 0.1": (GGUF, {}, "model.gguf"),
    "Docker Model Runner 0.2": (GGUF, {FILEPATH: "smollm2-Q4_K_M.gguf"}, "smollm2-Q4_K_M.gguf"),
    "Docker Model Runner, ModelPack": ("application/vnd.cncf.model.weight.v1.gguf", {}, "model.gguf"),
    "ModelPack raw": (RAW, {FILEPATH: "weights/tiny.gguf"}, "weights/tiny.gguf"),
    "ModelPack raw, named by its metadata": (RAW, {METADATA: '{"name": "tiny.gguf", "size": 1}'}, "tiny.gguf"),
    "KitOps": (RAW, {FILEPATH: "./tiny.GGUF"}, "tiny.GGUF"),
    "oras": (ORAS, {TITLE: "tiny.Q8_0.gguf"}, "tiny.Q8_0.gguf"),
    "any other": ("application/octet-stream", {TITLE: "tiny.gguf"}, "tiny.gguf"),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_a_layer_is_the_file_as_it_is(pusher: Pusher, fetch: Fetcher, shape: str) -> None:
    media_type, annotations, name = SHAPES[shape]
    readme = pusher.blob(b"# Tiny", "application/vnd.cncf.model.doc.v1.raw", **{FILEPATH: "README.md"})
    digest = pusher.artifact("v1", [readme, pusher.blob(LARGE, media_type, **annotations)])
    plan = await fetch.resolve(ref_of(pusher))
    (file,) = plan.files
    assert plan.revision == digest
    assert (file.size, str(file.digest), file.digest_published) == (len(LARGE), sha256(LARGE), True)
    assert file.path == f"oci/{pusher.url.removeprefix('http://').replace(':', '+')}/team/tiny/v1/{name}"
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == LARGE
    assert provided.received == len(LARGE)


@pytest.mark.parametrize("named", [True, False])
async def test_all_parts_of_a_model_are_fetched(pusher: Pusher, fetch: Fetcher, tmp_path: Path, named: bool) -> None:
    parts = [path.read_bytes() for path in write_split(tmp_path, "big")]
    names = [f"big-0000{number}-of-00003.gguf" for number in (1, 2, 3)] if named else [""] * 3
    layers = [
        pusher.blob(part, GGUF, **({FILEPATH: name} if name else {})) for part, name in zip(parts, names, strict=True)
    ]
    pusher.artifact("v1", layers)
    provided = await fetch.fetch(ref_of(pusher))
    assert [fetch.content(provided, number) for number in range(3)] == parts
    if named:
        pusher.artifact("v2", layers[:2])
        with pytest.raises(IncompleteModel, match="00003-of-00003"):
            await fetch.resolve(ref_of(pusher, ":v2"))


async def test_projectors_and_other_layers_are_not_the_model(pusher: Pusher, fetch: Fetcher) -> None:
    layers = [
        pusher.blob(b"projector", "application/vnd.docker.ai.mmproj"),
        pusher.blob(b"projector too", RAW, **{FILEPATH: "mmproj-F16.gguf"}),
        pusher.blob(MODEL, GGUF),
        pusher.blob(b"MIT", "application/vnd.docker.ai.license"),
    ]
    pusher.artifact("v1", layers)
    assert fetch.content(await fetch.fetch(ref_of(pusher))) == MODEL


async def test_an_index_leads_to_the_one_artifact_with_a_model(pusher: Pusher, fetch: Fetcher) -> None:
    image = pusher.artifact("image", [pusher.blob(b"layer", "application/vnd.oci.image.layer.v1.tar+gzip")])
    model = pusher.artifact("model", [pusher.blob(MODEL, GGUF)])
    children = [child(image), child(image, **{"vnd.docker.reference.type": "attestation-manifest"}), child(model)]
    top = pusher.manifest("v1", registry.index(children))
    plan = await fetch.resolve(ref_of(pusher))
    assert plan.revision == top
    assert fetch.content(await fetch.transfer(plan)) == MODEL
    assert (await fetch.resolve(ref_of(pusher), revision=top)).files == plan.files


def child(digest: str, media_type: str = registry.MANIFEST, **annotations: str) -> Document:
    return {"mediaType": media_type, "digest": digest, "size": 500, "annotations": annotations}


async def test_a_tag_is_pinned_to_the_manifest_that_was_found_first(pusher: Pusher, fetch: Fetcher) -> None:
    pusher.artifact("v1", [pusher.blob(MODEL, GGUF)])
    plan = await fetch.resolve(ref_of(pusher))
    pusher.artifact("v1", [pusher.blob(OTHER, GGUF)])
    assert (await fetch.resolve(ref_of(pusher), revision=plan.revision)).files == plan.files
    assert fetch.content(await fetch.transfer(plan)) == MODEL
    assert (await fetch.resolve(ref_of(pusher))).revision != plan.revision
    by_digest = await fetch.resolve(ref_of(pusher, f"@{plan.revision}"))
    assert by_digest.files[0].digest == plan.files[0].digest


async def test_the_digest_of_the_user_is_compared_with_that_of_the_layer(pusher: Pusher, fetch: Fetcher) -> None:
    pusher.artifact("v1", [pusher.blob(MODEL, GGUF)])
    with pytest.raises(DigestMismatch, match="correct the digest"):
        await fetch.resolve(ref_of(pusher), digest=sha256(OTHER))


@pytest.fixture
def protected(tmp_path: Path) -> Iterator[Pusher]:
    with registry.running(tmp_path, protected=True) as url:
        pusher = Pusher(url, "team/tiny", (registry.USER, PASSWORD))
        pusher.artifact("v1", [pusher.blob(LARGE, GGUF)])
        yield pusher


def logins(url: str, password: str = PASSWORD) -> Credentials:
    """As of a docker configuration, which names hosts only: `https://` stands for no scheme."""
    login = RegistryLogin(url.replace("http://", "https://"), registry.USER, password)
    other = RegistryLogin("https://other.example", "x", "y")
    return Credentials(None, (url,), logins=(other, login))


async def test_a_protected_registry_wants_a_login_that_is_for_it(protected: Pusher, fetch: Fetcher) -> None:
    url, ref = protected.url, ref_of(protected)
    basic = Credentials(None, (url,), username=registry.USER, password=PASSWORD)
    elsewhere = replace(basic, origins=("https://elsewhere.example",))
    with_tls_only = replace(basic, origins=(url.replace("http://", "https://"),))
    for none in (None, elsewhere, with_tls_only, replace(logins(url), logins=logins("http://x").logins)):
        with pytest.raises(AccessDenied, match=r"without a credential \(401\) and asks for Basic"):
            await fetch.resolve(ref, none)
    for wrong in (replace(basic, password="wrong"), logins(url, "wrong")):
        with pytest.raises(AccessDenied, match="with the credential that was sent"):
            await fetch.resolve(ref, wrong)
    for right in (basic, logins(url)):
        plan = await fetch.resolve(ref, right)
        assert PASSWORD not in repr(plan)
        assert fetch.content(await fetch.transfer(plan, right, connections=4)) == LARGE
        (fetch.root / plan.files[0].path).unlink()


@pytest.fixture
async def hub() -> AsyncIterator[TokenRegistry]:
    """A registry with tokens from another host, with the artifact `v1` of one large model."""
    async with token_registry() as found:
        found.add("v1", LARGE)
        yield found


def at(hub: TokenRegistry, end: str = ":v1") -> str:
    return f"oci://{hub.host}/team/tiny{end}"


async def test_a_token_is_asked_for_as_the_registry_says_and_serves_all_connections(
    hub: TokenRegistry, fetch: Fetcher
) -> None:
    plan = await fetch.resolve(at(hub))
    assert hub.asked_tokens == 1
    provided = await fetch.transfer(plan, connections=8)
    assert fetch.content(provided) == LARGE
    assert hub.asked_tokens == 2
    assert hub.requests("token")[0].query["of"] == "tests"
    assert {request.method for _, request in hub.log} == {"GET"}


@pytest.mark.parametrize("redirects", [False, True])
@pytest.mark.parametrize("limits", [{"uses": 2}, {"lifetime": 5 * MIB}, {"told": 1e-9}], ids=str)
async def test_tokens_that_expire_on_the_way_cost_no_byte_twice(
    hub: TokenRegistry, fetch: Fetcher, limits: dict[str, float], redirects: bool
) -> None:
    hub.redirects = redirects
    plan = await fetch.resolve(at(hub))
    for name, value in limits.items():
        setattr(hub, name, value)
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == LARGE
    assert provided.received == hub.sent == len(LARGE)
    assert hub.asked_tokens > 2 or redirects


async def test_addresses_at_another_host_that_expire_on_the_way_cost_no_byte_twice(
    hub: TokenRegistry, fetch: Fetcher
) -> None:
    hub.redirects, hub.content_uses = True, 2
    provided = await fetch.fetch(at(hub), connections=4)
    assert fetch.content(provided) == LARGE
    assert provided.received == hub.sent == len(LARGE)
    assert len({request.query["sig"] for request in hub.requests("content")}) > 1
    assert not [request for request in hub.requests("content") if "Authorization" in request.headers]


async def test_blobs_at_another_host_get_no_token(hub: TokenRegistry, fetch: Fetcher) -> None:
    hub.redirects = True
    provided = await fetch.fetch(at(hub), connections=4)
    assert fetch.content(provided) == LARGE
    assert hub.requests("content")
    assert not [request for request in hub.requests("content") if "Authorization" in request.headers]
    assert hub.sent == len(LARGE)


async def test_a_registry_without_ranges_is_read_in_one_stream(hub: TokenRegistry, fetch: Fetcher) -> None:
    hub.files[sha256(LARGE)].ranges = False
    assert fetch.content(await fetch.fetch(at(hub), connections=4)) == LARGE


async def test_a_public_registry_needs_no_token(hub: TokenRegistry, fetch: Fetcher) -> None:
    hub.tokens = False
    assert fetch.content(await fetch.fetch(at(hub))) == LARGE
    assert hub.asked_tokens == 0
    assert not [request for _, request in hub.log if "Authorization" in request.headers]


async def test_a_login_goes_to_a_token_server_without_tls_only_if_the_secret_names_it(
    hub: TokenRegistry, fetch: Fetcher
) -> None:
    hub.login = (registry.USER, PASSWORD)
    with pytest.raises(AccessDenied, match=r"a token for oci://.*without a credential \(401"):
        await fetch.resolve(at(hub))
    mine = logins(hub.url)
    with pytest.raises(AccessDenied, match="is not encrypted: the login is not sent there"):
        await fetch.resolve(at(hub), mine)
    named = replace(mine, origins=(hub.url, hub.token_url))
    assert fetch.content(await fetch.fetch(at(hub), named)) == LARGE
    assert not [one for one in hub.requests("registry") if "Basic" in one.headers.get("Authorization", "")]
    with pytest.raises(AccessDenied, match="with the credential that was sent"):
        await fetch.resolve(at(hub), replace(named, logins=logins(hub.url, "wrong").logins))


async def test_a_login_does_not_answer_the_challenge_of_another_host(hub: TokenRegistry, fetch: Fetcher) -> None:
    """A registry redirects to a host that asks for a password: it gets none."""
    hub.login, hub.basic = (registry.USER, PASSWORD), False
    async with token_registry() as other:
        other.basic, other.login = True, hub.login
        elsewhere = f"{other.url.replace('127.0.0.1', 'localhost')}/v2/x/manifests/v1"
        hub.scripted["manifests"] = (307, {"Location": elsewhere}, b"")
        with pytest.raises(AccessDenied):
            await fetch.resolve(at(hub), logins(hub.url))
        assert other.log
        assert not [one for _, one in other.log if "Authorization" in one.headers]


async def test_a_secret_that_a_registry_sends_back_is_not_shown(hub: TokenRegistry, fetch: Fetcher) -> None:
    hub.put("echo", [descriptor(b"x", GGUF, **{FILEPATH: "canary-token-000000/../x.gguf"})])
    with pytest.raises(UnsupportedSource) as caught:
        await fetch.resolve(at(hub, ":echo"))
    assert "canary-token" not in caught.value.message


async def test_a_token_in_the_name_of_a_file_is_refused(hub: TokenRegistry, fetch: Fetcher) -> None:
    hub.put("echo", [descriptor(b"x", GGUF, **{FILEPATH: "canary-token-000000.gguf"})])
    with pytest.raises(SourceUnavailable, match="sent back a token") as caught:
        await fetch.resolve(at(hub, ":echo"))
    assert "canary-token" not in caught.value.message


async def test_a_token_in_the_header_of_a_model_is_not_shown(
    hub: TokenRegistry, fetch: Fetcher, tmp_path: Path
) -> None:
    model = write_gguf(tmp_path / "m.gguf", vocabulary=256, size=64 * 1024, license="canary-token-000001")
    hub.add("echo", model.read_bytes())
    provided = await fetch.fetch(at(hub, ":echo"))
    assert hub.asked_tokens == 2
    assert provided.gguf.license == "…"


async def test_docker_hub_is_asked_at_its_own_host() -> None:
    asked = []

    async def resolve(host: str, _: int) -> list[str]:
        asked.append(host)
        raise OSError

    async with open_client(SETTINGS, resolve) as client:
        for ref in ("oci://docker.io/ai/smollm2", "oci://index.docker.io/ai/smollm2:135M"):
            with pytest.raises(NameResolutionFailed):
                await Fetcher(client, Path()).resolve(ref)
    assert asked == ["registry-1.docker.io"] * 2


def _manifest(**fields: object) -> bytes:
    layer = descriptor(MODEL, GGUF)
    return json.dumps({"schemaVersion": 2, "mediaType": registry.MANIFEST, "layers": [layer], **fields}).encode()


def _layer(**fields: object) -> bytes:
    return _manifest(layers=[{**descriptor(MODEL, GGUF), **fields}])


JSON = {"Content-Type": registry.MANIFEST}
HTML = {"Content-Type": "text/html; charset=utf-8"}
BEARER = 'Bearer realm="{}",service="s",scope="x"'
WRONG: list[tuple[str, Answer, type[ProvisionError], str]] = [
    ("manifests", (200, HTML, b"<html>log in"), SourceUnavailable, "a web page.*login page"),
    ("manifests", (200, JSON, b"{"), SourceUnavailable, "what is no JSON"),
    ("manifests", (200, JSON, b"[" * 100_000), SourceUnavailable, "no JSON|another shape"),
    ("manifests", (200, JSON, b"[]"), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, b""), SourceUnavailable, "no JSON"),
    ("manifests", (200, JSON, _manifest(layers=None)), SourceUnavailable, "without layers"),
    ("manifests", (200, JSON, _manifest(layers="x")), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _layer(size=-1)), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _layer(size=2**63)), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _layer(size="9")), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _layer(digest="sha256:../../x")), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _layer(digest="md5:00")), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _layer(digest=f"sha512:{'0' * 128}")), UnsupportedSource, "not named by a SHA-256"),
    ("manifests", (200, JSON, _layer(annotations={"x": 1})), SourceUnavailable, "another shape"),
    ("manifests", (200, JSON, _manifest(mediaType=registry.INDEX)), SourceUnavailable, "in the body and .* header"),
    ("manifests", (200, {}, _manifest(mediaType="text/plain")), UnsupportedSource, "'text/plain', which is no man"),
    ("manifests", (200, JSON, b'{"schemaVersion": 1}'), UnsupportedSource, "version 1"),
    ("manifests", (200, JSON, b" " * (4 * 1024**2 + 1)), UnsupportedSource, "more than 4 MiB"),
    ("manifests", (200, JSON, _manifest(layers=[{}] * 20_000)), UnsupportedSource, "more than 4,196 layers"),
    ("manifests", (200, JSON, _layer(annotations={FILEPATH: "../x.gguf"})), UnsupportedSource, "'..' part"),
    ("manifests", (200, JSON, _layer(annotations={FILEPATH: "/etc/x.gguf"})), UnsupportedSource, "absolute|empty"),
    ("manifests", (200, JSON, _layer(annotations={TITLE: "a\\b.gguf"})), UnsupportedSource, "backslash"),
    ("manifests", (200, JSON, _layer(annotations={TITLE: "a\n.gguf"})), UnsupportedSource, "control character"),
    ("manifests", (200, JSON, _layer(annotations={TITLE: "a\u202eb.gguf"})), UnsupportedSource, "invisible"),
    ("manifests", (200, JSON, _layer(annotations={TITLE: "a" * 300 + ".gguf"})), UnsupportedSource, "longer than"),
    ("manifests", (200, JSON, _layer(annotations={TITLE: ".provisioner/x.gguf"})), UnsupportedSource, "store"),
    ("manifests", (200, {**JSON, "Content-Encoding": "br"}, b"x"), SourceUnavailable, "encoded as 'br'"),
    ("manifests", (401, {}, b""), AccessDenied, "without a credential"),
    ("manifests", (401, {"WWW-Authenticate": "Bearer"}, b""), AccessDenied, "asks for Bearer"),
    ("manifests", (401, {"WWW-Authenticate": 'Negotiate, "'}, b""), AccessDenied, "without a credential"),
    ("manifests", (403, {}, b""), AccessDenied, "without a credential .403"),
    ("manifests", (404, {}, b""), SourceNotFound, "is not there .404"),
    ("manifests", (429, {"Retry-After": "7"}, b""), RateLimited, "limits how often"),
    ("manifests", (500, {}, b""), SourceUnavailable, "answered 500"),
    ("manifests", (302, {"Location": "http://10.1.2.3/x"}, b""), AddressNotAllowed, "10.1.2.3"),
    ("manifests", (302, {"Location": "/v2/team/tiny/manifests/v1"}, b""), SourceUnavailable, "again and again"),
    ("token", (200, HTML, b"<html>"), SourceUnavailable, "a web page"),
    ("token", (200, {}, b"{}"), SourceUnavailable, "no token"),
    ("token", (200, {}, b'{"token": 1}'), SourceUnavailable, "another shape"),
    ("token", (200, {}, b'{"token": "a b"}'), SourceUnavailable, "no token"),
    ("token", (200, {}, b'{"token": "a\\r\\nHost: x"}'), SourceUnavailable, "no token"),
    ("token", (200, {}, b'{"token": "' + b"a" * 20_000 + b'"}'), SourceUnavailable, "no token"),
    ("token", (200, {}, b" " * 300_000), UnsupportedSource, "more than"),
    ("token", (200, {}, b'{"token": "of-another-realm"}'), AccessDenied, "without a credential"),
    ("token", (401, {}, b""), AccessDenied, "a token for oci://"),
    ("token", (429, {}, b""), RateLimited, "limits how often"),
    ("token", (503, {}, b""), SourceUnavailable, "answered 503"),
]


@pytest.mark.parametrize(("where", "answer", "kind", "says"), WRONG, ids=lambda value: str(value)[:60])
async def test_a_wrong_answer_is_named(
    hub: TokenRegistry, fetch: Fetcher, where: str, answer: Answer, kind: type[ProvisionError], says: str
) -> None:
    hub.scripted[where] = answer
    with pytest.raises(kind, match=says) as caught:
        await fetch.resolve(at(hub))
    assert type(caught.value) is kind
    assert caught.value.message.isprintable()
    assert len(hub.log) < 15


REALMS = [
    ("ftp://localhost/token", SourceUnavailable, "no address of a token server"),
    ("/token", SourceUnavailable, "no address of a token server"),
    ("http://localhost:1/token#x", SourceUnavailable, "no address of a token server"),
    ("http://10.1.2.3/token", AddressNotAllowed, "not encrypted: use https, or ask the administrator"),
    ("https://169.254.169.254/token", AddressNotAllowed, "169.254.169.254"),
    ("https://user:pw@localhost/token", AddressNotAllowed, "user name"),
    (f"http://localhost/{'x' * 3000}", SourceUnavailable, "no address of a token server"),
]


@pytest.mark.parametrize(("realm", "kind", "says"), REALMS, ids=lambda value: str(value)[:40])
async def test_a_token_server_is_guarded_like_every_host(
    hub: TokenRegistry, fetch: Fetcher, realm: str, kind: type[ProvisionError], says: str
) -> None:
    hub.realm = realm
    with pytest.raises(kind, match=says):
        await fetch.resolve(at(hub))
    assert not hub.requests("token")


async def test_another_manifest_than_the_named_one_is_refused(hub: TokenRegistry, fetch: Fetcher) -> None:
    asked = f"sha256:{'0' * 64}"
    hub.manifests[asked] = hub.manifests["v1"]
    with pytest.raises(DigestMismatch, match=f"when asked for {asked}"):
        await fetch.resolve(at(hub, f"@{asked}"))


async def test_bytes_of_another_digest_or_size_are_never_published(hub: TokenRegistry, fetch: Fetcher) -> None:
    plan = await fetch.resolve(at(hub))
    right, served = LARGE, hub.files[sha256(LARGE)]
    served.content = tiny_gguf(size=24 * 1024 * 1024, seed=5)
    with pytest.raises(DigestMismatch):
        await fetch.transfer(plan)
    served.content = right[:-1]
    with pytest.raises(SourceUnavailable, match="bytes"):
        await fetch.transfer(plan)
    assert not list(fetch.root.rglob("*.gguf"))


TAR = "application/vnd.cncf.model.weight.v1.tar"
REFUSED: list[tuple[list[Document], type[ProvisionError], str]] = [
    ([descriptor(b"x", f"{TAR}+zstd", **{FILEPATH: "x.gguf"})], UnsupportedSource, "layer of its own"),
    ([descriptor(b"x", "application/vnd.kitops.modelkit.code.v1.tar")], UnsupportedSource, "archives .*kitops"),
    ([descriptor(b"x", f"{ORAS}+gzip")], UnsupportedSource, "holds no GGUF file, only application/vnd.oci.image"),
    ([descriptor(b"x", RAW, **{FILEPATH: "x.safetensors"})], UnsupportedSource, "holds no GGUF file"),
    ([descriptor(b"x", RAW, **{METADATA: "{"})], UnsupportedSource, "holds no GGUF file"),
    ([descriptor(b"x", "application/vnd.docker.ai.mmproj")], UnsupportedSource, "holds no GGUF file"),
    ([], UnsupportedSource, "holds no GGUF file: name"),
    ([descriptor(b"x", RAW, **{FILEPATH: "a.gguf"}), descriptor(b"y", RAW, **{FILEPATH: "a.gguf"})], UnsupportedSource, "two layers are called 'a.gguf'"),  # noqa: E501 - a row of the table
    ([descriptor(b"x", RAW, **{FILEPATH: "a.gguf"}), descriptor(b"y", RAW, **{FILEPATH: "b.gguf"})], AmbiguousModel, "2 models, 'a.gguf', 'b.gguf': push each"),  # noqa: E501 - a row of the table
]  # fmt: skip


@pytest.mark.parametrize(("layers", "kind", "says"), REFUSED, ids=lambda value: str(value)[:60])
async def test_an_artifact_that_is_no_model_says_why(
    hub: TokenRegistry, fetch: Fetcher, layers: list[Document], kind: type[ProvisionError], says: str
) -> None:
    hub.put("other", layers)
    with pytest.raises(kind, match=says):
        await fetch.resolve(at(hub, ":other"))


async def test_an_index_that_does_not_lead_to_one_model_is_refused(hub: TokenRegistry, fetch: Fetcher) -> None:
    first, second = hub.add("a", MODEL), hub.add("b", OTHER)
    image = hub.put("image", [descriptor(b"x", f"{ORAS}+gzip")])
    nested = hub.put_raw("nested", registry.index([child(first)]))
    indexes = {
        "two": ([child(first), child(second)], AmbiguousModel, f"index of 2 models.*@{first}, @{second}"),
        "images": ([child(image)], UnsupportedSource, "holds no GGUF file"),
        "nested": ([child(nested, registry.INDEX)], UnsupportedSource, "an index of other indexes"),
        "hidden": ([child(nested)], UnsupportedSource, "an index of other indexes"),
        "many": ([child(f"sha256:{number:064}") for number in range(17)], UnsupportedSource, "index of 17 artifacts"),
        "missing": ([child(f"sha256:{0:064}")], SourceNotFound, "is not there"),
        "empty": ([], UnsupportedSource, "holds no GGUF file"),
    }
    for name, (children, kind, says) in indexes.items():
        hub.put_raw(name, registry.index(children))
        with pytest.raises(kind, match=says):
            await fetch.resolve(at(hub, f":{name}"))
    hub.put_raw("same", registry.index([child(first), child(first)]))
    assert (await fetch.resolve(at(hub, ":same"))).files[0].digest


async def test_a_registry_that_loops_through_its_index_ends(hub: TokenRegistry, fetch: Fetcher) -> None:
    """No digest can be made so; a registry that lies about it is found by the digest of the bytes."""
    asked = f"sha256:{'1' * 64}"
    hub.manifests[asked] = hub.manifests["loop"] = registry.index([child(asked, registry.MANIFEST)])
    with pytest.raises(DigestMismatch):
        await fetch.resolve(at(hub, ":loop"))
    assert len(hub.log) < 10


async def test_a_registry_that_does_not_answer_is_not_taken_for_one_without_tls(fetch: Fetcher) -> None:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(token_registry())
    with pytest.raises(SourceUnavailable, match=r"no connection to https://127\.0\.0\.1"):
        await fetch.resolve(at(hub))
