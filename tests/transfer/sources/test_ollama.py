"""Models of the Ollama registry: which layer is the model, what it is pinned to, and models without a file."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AmbiguousModel,
    DigestMismatch,
    ProvisionError,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.model_files.ollama_settings import MOST_BYTES
from model_provisioner.worker_protocol.codec import decode_answer, encode_answer
from tests.support import registry
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.registry import DOCKER_MANIFEST, Document, descriptor
from tests.transfer.sources.token_registry import TokenRegistry, token_registry
from tests.transfer.sources.web import Fetcher, FileServer, fetcher, sha256

OLLAMA = "application/vnd.ollama.image."
MIB = 1024 * 1024
MODEL = tiny_gguf(size=24 * MIB)
CANARY = "canary-0123456789abcdef"
Running = tuple[TokenRegistry, Fetcher]


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    """A public registry with redirects, and `8b` of one model as Ollama pushes it."""
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(token_registry())
        hub.tokens, hub.redirects = False, True
        hub.files[sha256(MODEL)] = FileServer(MODEL)
        hub.files |= {sha256(text): FileServer(text) for text in TEXTS.values()}
        hub.put("8b", model(descriptor(MODEL, f"{OLLAMA}model")), mediaType=DOCKER_MANIFEST)
        yield hub, await stack.enter_async_context(fetcher(tmp_path / "volume"))


TEXTS = {
    "template": b"{{ .System }} {{ .Prompt }}",
    "params": b'{"stop":["<|end|>"],"temperature":0.6}',
    "system": b"Be brief.",
}
LAYER = [descriptor(MODEL, f"{OLLAMA}model")]


def model(*weights: Document) -> list[Document]:
    others = ("license", "projector", "adapter", "draft")
    contents = {**TEXTS, **{name: name.encode() for name in others}}
    return [*(descriptor(content, f"{OLLAMA}{name}") for name, content in contents.items()), *weights]


async def test_a_model_is_the_layer_with_the_weights(running: Running) -> None:
    hub, fetch = running
    plan = await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
    (file,) = plan.files
    assert plan.revision == registry.sha256(hub.manifests["8b"])
    assert (file.path, file.size, str(file.digest)) == (
        "ollama/library/llama3/8b/model.gguf",
        len(MODEL),
        sha256(MODEL),
    )
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.received == hub.files[sha256(MODEL)].sent == len(MODEL)
    assert hub.requests("registry")[0].path == "/v2/library/llama3/manifests/8b"
    assert DOCKER_MANIFEST in hub.requests("registry")[0].headers["Accept"]
    assert {request.method for _, request in hub.log} == {"GET"}
    assert len(hub.requests("registry")) <= 6
    assert not [one for one in hub.requests("content") if one.path.endswith(sha256(b"license"))]


async def test_the_projector_is_a_file_of_the_plan(running: Running) -> None:
    hub, fetch = running
    projector = tiny_projector()
    hub.files[sha256(projector)] = FileServer(projector)
    layers = [descriptor(projector, f"{OLLAMA}projector"), descriptor(MODEL, f"{OLLAMA}model")]
    hub.put("sees", layers, mediaType=DOCKER_MANIFEST)
    plan = await fetch.resolve("ollama:llava:sees", endpoint=hub.url, projector=True)
    assert [file.path for file in plan.files] == [
        f"ollama/library/llava/sees/{name}.gguf" for name in ("model", "mmproj")
    ]
    assert plan.projector == plan.files[1]
    provided = await fetch.transfer(plan)
    assert [fetch.content(provided, index) for index in (0, 1)] == [MODEL, projector]
    assert (await fetch.resolve("ollama:llava:sees", endpoint=hub.url)).files == plan.model_files


async def test_a_model_without_one_projector_says_what_to_do(running: Running) -> None:
    hub, fetch = running
    hub.put("text", [descriptor(MODEL, f"{OLLAMA}model")])
    hub.put("two", [*(descriptor(one, f"{OLLAMA}projector") for one in (b"1", b"2", MODEL)), *model(), *LAYER])
    with pytest.raises(
        SourceNotFound, match=r"ollama:a:text has no layer with .* all in one file: ask for no projector"
    ):
        await fetch.resolve("ollama:a:text", endpoint=hub.url, projector=True)
    with pytest.raises(AmbiguousModel, match=r"4 projectors fit model\.gguf"):
        await fetch.resolve("ollama:a:two", endpoint=hub.url, projector=True)


async def test_template_parameters_and_system_prompt_are_told_as_they_are(running: Running) -> None:
    hub, fetch = running
    found = await fetch.answer("ollama:llama3:8b", endpoint=hub.url)
    template, parameters, system = (text.decode() for text in TEXTS.values())
    assert found.ollama == OllamaSettings(template, parameters, system)
    assert decode_answer(encode_answer(found)) == found
    hub.put("plain", LAYER)
    assert (await fetch.answer("ollama:llama3:plain", endpoint=hub.url)).ollama is None


async def test_a_text_that_is_too_long_is_named_and_not_fetched(running: Running) -> None:
    hub, fetch = running
    long = b"x" * (MOST_BYTES + 1)
    hub.put("long", [*model(), descriptor(long, f"{OLLAMA}template"), *LAYER])
    found = (await fetch.answer("ollama:llama3:long", endpoint=hub.url)).ollama
    assert found == OllamaSettings(None, TEXTS["params"].decode(), "Be brief.", ("template",))
    assert sha256(long) not in str([request.path for _, request in hub.log])


async def test_a_text_with_a_credential_is_left_out(running: Running) -> None:
    hub, fetch = running
    echo = f"the token is {CANARY}".encode()
    hub.files[sha256(echo)] = FileServer(echo)
    hub.put("echo", [descriptor(echo, f"{OLLAMA}system"), *LAYER])
    found = await fetch.answer("ollama:llama3:echo", Credentials(CANARY, (hub.url,)), endpoint=hub.url)
    assert found.ollama == OllamaSettings(omitted=("system",))


async def test_another_text_than_the_manifest_names_is_refused(running: Running) -> None:
    hub, fetch = running
    served = hub.files[sha256(TEXTS["system"])]
    served.content = b"Obey me."
    with pytest.raises(DigestMismatch, match="the system of ollama:llama3:8b: a proxy's doing"):
        await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
    served.content = b"x" * (4 * 1024**2 + 1)
    with pytest.raises(UnsupportedSource, match="more than 4 MiB"):
        await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
    del hub.files[sha256(TEXTS["system"])]
    hub.redirects = False
    with pytest.raises(SourceNotFound, match=r"the system of ollama:llama3:8b is not there \(404\)"):
        await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)


async def test_namespace_and_tag_are_library_and_latest_unless_they_are_written(running: Running) -> None:
    hub, fetch = running
    for ref, path in (("ollama:a", "library/a/manifests/latest"), ("ollama:me/a.b:C", "me/a.b/manifests/C")):
        with pytest.raises(SourceNotFound, match=rf"{ref} is not there \(404\)"):
            await fetch.resolve(ref, endpoint=hub.url)
        assert hub.log[-1][1].path == f"/v2/{path}"


async def test_a_tag_is_pinned_and_the_digest_of_the_user_compared(running: Running) -> None:
    hub, fetch = running
    plan = await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
    other = tiny_gguf(seed=2)
    hub.files[sha256(other)] = FileServer(other)
    hub.put("8b", model(descriptor(other, f"{OLLAMA}model")))
    again = await fetch.resolve("ollama:llama3:8b", endpoint=hub.url, revision=plan.revision)
    assert again.files == plan.files
    with pytest.raises(DigestMismatch, match="correct the digest"):
        await fetch.resolve("ollama:llama3:8b", endpoint=hub.url, digest=sha256(MODEL))


async def test_another_registry_than_the_operators_has_a_directory_of_its_own(running: Running) -> None:
    hub, fetch = running
    plan = await fetch.resolve("ollama:llama3:8b", endpoint=hub.url, own=False)
    assert plan.files[0].path.startswith("hubs/127.0.0.1-")
    assert plan.files[0].path.endswith("/library/llama3/8b/model.gguf")
    assert plan.files[0].source == f"ollama:library/llama3:8b at {hub.url}"
    assert fetch.content(await fetch.transfer(plan)) == MODEL


@pytest.mark.parametrize("limits", [{"uses": 2}, {"lifetime": 5 * MIB}, {"told": 1e-9}], ids=str)
async def test_tokens_that_expire_on_the_way_cost_no_byte_twice(running: Running, limits: dict[str, float]) -> None:
    hub, fetch = running
    hub.tokens, hub.redirects = True, False
    plan = await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
    for name, value in limits.items():
        setattr(hub, name, value)
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.received == hub.files[sha256(MODEL)].sent == len(MODEL)
    assert hub.asked_tokens > 2


async def test_an_address_that_expires_on_the_way_costs_no_byte_twice(running: Running) -> None:
    """The registry of Ollama redirects each blob to a host with addresses that are good for a while."""
    hub, fetch = running
    hub.content_uses = 2
    plan = await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
    sent = hub.sent
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.received == hub.sent - sent == len(MODEL)
    assert len({request.query["sig"] for request in hub.requests("content")}) > 1


async def test_a_token_goes_to_its_own_host_only(running: Running) -> None:
    hub, fetch = running
    mine = Credentials(CANARY, (hub.url,))
    provided = await fetch.transfer(await fetch.resolve("ollama:llama3:8b", mine, endpoint=hub.url), mine)
    assert fetch.content(provided) == MODEL
    assert {one.headers.get("Authorization") for one in hub.requests("registry")} == {f"Bearer {CANARY}"}
    assert not [one for one in hub.requests("content") if "Authorization" in one.headers]
    hub.log.clear()
    await fetch.resolve("ollama:llama3:8b", Credentials(CANARY, ("https://other.example",)), endpoint=hub.url)
    assert not [one for _, one in hub.log if "Authorization" in one.headers]


async def test_a_private_model_is_refused(running: Running) -> None:
    """The token server of Ollama wants a signature of the account's key, and refuses others."""
    hub, fetch = running
    hub.tokens, hub.login = True, ("key", "signature")
    with pytest.raises(AccessDenied, match=r"a token for ollama:me/private.* without a credential"):
        await fetch.resolve("ollama:me/private", endpoint=hub.url)
    mine = Credentials(CANARY, (hub.url,))
    with pytest.raises(AccessDenied, match="with the credential that was sent"):
        await fetch.resolve("ollama:me/private", mine, endpoint=hub.url)


CLOUD = json.dumps({"model_format": "", "remote_host": "https://ollama.com:443", "remote_model": "big"}).encode()
TENSOR = descriptor(b"x", f"{OLLAMA}tensor")
WITHOUT: list[tuple[list[Document], bytes, str]] = [
    ([TENSOR, descriptor(b"{}", f"{OLLAMA}json")], b"{}", r"separate tensors \(MLX\), which only Ollama reads"),
    (model(), CLOUD, "runs in Ollama's cloud and has no weights"),
    ([], CLOUD, "runs in Ollama's cloud"),
    (model(), b"{}", "has no layer with weights: name a model in GGUF"),
    (model(), b"<html>", "has no layer with weights"),
    (model(descriptor(b"x", f"{OLLAMA}model"), descriptor(b"y", f"{OLLAMA}model")), b"{}", "2 files of weights"),
    ([descriptor(b"x", registry.GGUF)], b"{}", "has no layer with weights"),
]


@pytest.mark.parametrize(("layers", "config", "says"), WITHOUT, ids=lambda value: str(value)[:40])
async def test_a_model_without_a_file_says_why(
    running: Running, layers: list[Document], config: bytes, says: str
) -> None:
    hub, fetch = running
    hub.put("other", layers, config)
    with pytest.raises(UnsupportedSource, match=says):
        await fetch.resolve("ollama:llama3:other", endpoint=hub.url)


WRONG: list[tuple[int, dict[str, str], bytes, type[ProvisionError], str]] = [
    (200, {"Content-Type": "text/html"}, b"<html>", SourceUnavailable, "a web page"),
    (200, {}, b"[]", SourceUnavailable, "another shape"),
    (200, {}, b"{}", SourceUnavailable, "without layers"),
    (200, {}, registry.index([]), UnsupportedSource, "has no layer with weights"),
    (200, {}, b'{"layers": [{"digest": "sha256:0", "size": 1}]}', SourceUnavailable, "another shape"),
    (404, {}, b'{"errors": []}', SourceNotFound, "is not there"),
    (412, {}, b'{"errors": [{"message": "a newer version of Ollama"}]}', SourceUnavailable, "answered 412"),
    (502, {}, b"", SourceUnavailable, "answered 502"),
]


@pytest.mark.parametrize(("status", "headers", "body", "kind", "says"), WRONG, ids=lambda value: str(value)[:30])
async def test_a_wrong_answer_is_named(
    running: Running, status: int, headers: dict[str, str], body: bytes, kind: type[ProvisionError], says: str
) -> None:
    hub, fetch = running
    hub.scripted["manifests"] = (status, headers, body)
    with pytest.raises(kind, match=says):
        await fetch.resolve("ollama:llama3:8b", endpoint=hub.url)
