"""A hub that sends the token back: no error, plan, progress or summary has it, nor a part or another spelling of it."""

import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import pytest

from model_provisioner.aio.clock import Clock
from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import ProvisionError, SourceUnavailable
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy, Origin
from model_provisioner.domain.network.proxy import Proxy, parse_no_proxy
from model_provisioner.domain.store.plan import Plan, PlannedFile
from model_provisioner.transfer.download import engine
from model_provisioner.transfer.download.job import Job, Provided
from model_provisioner.transfer.download.requests.throttle import Limits
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.transfer.store.store import Store
from model_provisioner.worker_protocol.messages import Resolve, ResolvedAnswer
from tests.support.gguf_headers import STRING, header, pair, string
from tests.transfer.bench import MODEL, NAME, REF, Recorder, no_sleep
from tests.transfer.scripted_host import Host, host

TOKEN = "hf_QxZvKpLmTrWsYbNcDfGh0123456789"
PASSWORD = "Wx7-proxy-Kq93-secret"
COMMIT = "c" * 40
API = f"/api/models/{NAME}"
FILE = f"/{NAME}/resolve/{COMMIT}/{MODEL}"
Answer = tuple[int, Mapping[str, str], bytes]


def refusal(status: int, said: str, **headers: str) -> Answer:
    return status, {"X-Error-Message": said, **headers}, b""


def document(value: object, **headers: str) -> Answer:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def described(*names: str, **fields: object) -> Answer:
    files = [{"rfilename": name, "size": 100, "lfs": {"sha256": "a" * 64, "size": 100}} for name in names]
    return document({"id": NAME, "sha": COMMIT, "siblings": files} | fields)


def to(location: str) -> Answer:
    return 302, {"Location": location}, b""


def leaks(text: str) -> list[str]:
    """The parts of a secret in `text`: eight characters are more than chance."""
    compared = re.sub("[^a-z0-9]", "", unquote(unquote(text)).lower())
    secrets = [TOKEN, PASSWORD, encoded(TOKEN)[8:], base64.b64encode(TOKEN.encode()).decode(), TOKEN.encode().hex()]
    bare = [re.sub("[^a-z0-9]", "", secret.lower()) for secret in secrets]
    return [one[at : at + 8] for one in bare for at in range(len(one) - 7) if one[at : at + 8] in compared]


def encoded(secret: str) -> str:
    return base64.b64encode(f"user:{secret}".encode()).decode()


HALF = len(TOKEN) // 2
DESCRIPTIONS: dict[str, Answer] = {
    "its words": refusal(403, f"your token {TOKEN} may not"),
    "its words, cut": refusal(403, "x" * 180 + TOKEN),
    "its words, percent-encoded": refusal(401, quote("".join(f"%{ord(char):02x}" for char in TOKEN))),
    "its words, encoded": refusal(404, f"you sent {encoded(TOKEN)}"),
    "its words, in parts": refusal(500, f"{TOKEN[:HALF]} and {TOKEN[HALF:]}"),
    "its words about a limit": refusal(429, TOKEN, **{"Retry-After": "1"}),
    "words of a proxy": refusal(403, f"the password {PASSWORD} of the proxy"),
    "a host of a redirect": to(f"https://{TOKEN.lower().replace('_', '-')}.invalid/"),
    "a host without TLS": to(f"http://{TOKEN.lower().replace('_', '-')}.invalid/"),
    "a scheme of a redirect": to(f"{TOKEN.lower().replace('_', '-')}://x"),
    "an encoding": document({}, **{"Content-Encoding": TOKEN}),
    "a commit": described(MODEL, sha=TOKEN),
    "a commit like one": described(MODEL, sha=(TOKEN.encode().hex() + "0" * 40)[:64]),
    "a digest": described(siblings=[{"rfilename": MODEL, "lfs": {"sha256": TOKEN}}]),
    "a digest like one": described(siblings=[{"rfilename": MODEL, "lfs": {"sha256": (TOKEN.encode().hex())[:64]}}]),
    "the name of the model": described(f"{TOKEN}.Q4_K_M.gguf"),
    "the name of the model, percent-encoded": described(f"{'%68' + quote(TOKEN[1:])}.Q4_K_M.gguf"),
    "the name of the model, encoded": described(f"{encoded(TOKEN)}.Q4_K_M.gguf"),
    "a directory": described(f"{TOKEN[:HALF]}/{TOKEN[HALF:]}/model.Q4_K_M.gguf"),
    "names to choose from": described(f"a{TOKEN}.Q4_K_M.gguf", f"b{TOKEN}.Q4_K_M.gguf"),
    "names of no model": described(f"{TOKEN}.safetensors"),
    "the names of parts": described(f"{TOKEN}.Q4_K_M-00001-of-00002.gguf"),
    "a name that can't be stored": described(f"{TOKEN}\x01.Q4_K_M.gguf"),
    "the name of another model": described(MODEL, f"{TOKEN}.Q8_0.gguf"),
    "the name of the repository": described(MODEL, id=f"owner/{TOKEN}"),
    "another shape": document({TOKEN: TOKEN, "siblings": TOKEN}),
    "a page": (200, {"Content-Type": f"text/html; {TOKEN}"}, TOKEN.encode()),
}
HEADERS: dict[str, Answer] = {
    "its words about a file": refusal(403, TOKEN),
    "a size": (200, {"X-Linked-Size": TOKEN}, b""),
    "a redirect of the file": to(f"https://{TOKEN.lower().replace('_', '-')}.invalid/"),
    "a digest in headers": (200, {"X-Linked-ETag": f'"{TOKEN.encode().hex()[:64]}"', "X-Linked-Size": "9"}, b""),
    "a commit in headers": (200, {"X-Repo-Commit": TOKEN, "X-Linked-Size": "9"}, b""),
}
RANGES: dict[str, Answer] = {
    "its words for a range": refusal(403, f"no: {TOKEN}"),
    "a missing file": refusal(404, f"no: {encoded(TOKEN)}"),
    "a failure": refusal(503, f"no: {TOKEN}"),
    "a range": (206, {"Content-Range": f"bytes {TOKEN}/9"}, b"GGUF"),
    "a type": (206, {"Content-Type": f"multipart/{TOKEN}"}, b"GGUF"),
    "an encoding of the file": (200, {"Content-Encoding": TOKEN}, b"GGUF"),
    "a host of the content": to(f"https://{TOKEN.lower().replace('_', '-')}.invalid/?Signature=x"),
    "content": (200, {}, TOKEN.encode() * 100),
}


@dataclass
class World:
    hub: Host
    settings: NetworkSettings

    @property
    def credentials(self) -> Credentials:
        return Credentials(TOKEN, (self.hub.url,))

    async def resolve(self) -> ResolvedAnswer:
        async with open_client(self.settings) as client:
            return await Resolver(client).resolve(Resolve("1", REF, self.hub.url, credentials=self.credentials))

    async def provide(self, size: int, root: Path) -> Provided:
        """What the engine makes of a plan for one file of `size` bytes without a digest."""
        file = PlannedFile(f"hf/{NAME}/{MODEL}", size, None, f"hf:{NAME}:{MODEL}", f"{self.hub.url}{FILE}")
        job = Job(Plan(REF, COMMIT, (file,)), Limits(1, None), 0, self.credentials)
        async with open_client(self.settings) as client:
            with Store.open(root, None) as store:
                return await engine.provide(job, store.files, client, Recorder(), Clock(sleep=no_sleep))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        hub = await stack.enter_async_context(host())
        # The proxy serves nothing here, but its password is a secret of the client.
        proxy = Proxy(Origin("http", "proxy.example", 3128), "user", PASSWORD, no_proxy=parse_no_proxy("*"))
        listed = NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"), HostPort("*.invalid", 443)))
        yield World(hub, NetworkSettings(listed, proxy=proxy))


@pytest.mark.parametrize("echo", DESCRIPTIONS)
async def test_a_description_that_echoes_the_token(world: World, echo: str) -> None:
    world.hub.answers[API] = DESCRIPTIONS[echo]
    assert leaks(await _outcome(world)) == []
    assert (API, True) in world.hub.seen


@pytest.mark.parametrize("echo", HEADERS)
async def test_headers_of_a_file_that_echo_the_token(world: World, echo: str) -> None:
    world.hub.answers[API] = document({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": MODEL}]})
    world.hub.answers[FILE] = HEADERS[echo]
    assert leaks(await _outcome(world)) == []
    assert (FILE, True) in world.hub.seen


@pytest.mark.parametrize("echo", RANGES)
async def test_a_range_that_echoes_the_token(world: World, tmp_path: Path, echo: str) -> None:
    world.hub.answers[FILE] = RANGES[echo]
    with pytest.raises(ProvisionError) as caught:
        await world.provide(len(RANGES[echo][2]) or 9, tmp_path)
    assert leaks(caught.value.message + str(caught.value)) == []
    assert (FILE, True) in world.hub.seen


async def test_a_name_with_the_token_is_refused_with_advice(world: World) -> None:
    world.hub.answers[API] = DESCRIPTIONS["the name of the model"]
    with pytest.raises(SourceUnavailable, match="revoke"):
        await world.resolve()


async def test_metadata_of_a_model_that_echoes_the_token(world: World, tmp_path: Path) -> None:
    fields = {b"general.architecture": "llama", b"general.name": f"Model {TOKEN}", b"general.license": encoded(TOKEN)}
    content = header(tuple(pair(key, STRING, string(value.encode())) for key, value in fields.items()), ())
    world.hub.answers[FILE] = (200, {}, content)
    provided = await world.provide(len(content), tmp_path)
    assert (provided.gguf.architecture, provided.gguf.name) == ("llama", "Model …")
    assert leaks(repr(provided)) == []


async def test_an_honest_answer_is_not_changed(world: World) -> None:
    world.hub.answers[API] = described(MODEL, "model.Q8_0.gguf")
    answer = await world.resolve()
    assert [file.path for file in answer.plan.files] == [f"hf/{NAME}/{MODEL}"]
    assert [one.selector for one in answer.alternatives.nearest] == ["Q8_0"]


async def _outcome(world: World) -> str:
    """All that leaves the resolver."""
    try:
        return repr(await world.resolve())
    except ProvisionError as error:
        return f"{error.reason} {error.message} {error}"
