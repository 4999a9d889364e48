"""Hubs that answer as mirrors, caching proxies and portals do: the plan is that of the real hub, or the error is named.

`huggingface_hub` is the measure in `tests.support.test_hub_oracle`: it gets the file from each of these mirrors.
"""

import gzip
import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from model_provisioner.domain.errors import LicenseNotAccepted, SourceNotFound, SourceUnavailable, UnsupportedSource
from model_provisioner.domain.lifecycle.suspended_message import Alternatives
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.support.ggufs import tiny_gguf
from tests.transfer.bench import MODEL, NAME, REF, Bench, token_for

CONTENT = b"GGUF content of a model"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
COMMIT = "c" * 40


def facts(plan: Plan) -> list[tuple[str, int, str]]:
    return [(file.path, file.size, str(file.digest)) for file in plan.files]


# The test hub, with endpoints or fields left out.


@pytest.mark.parametrize("omits", [{"size", "lfs"}, {"size"}, {"siblings"}, {"sha"}, {"sha", "size", "lfs"}, {"id"}])
@pytest.mark.parametrize("tree", [True, False])
async def test_what_the_description_leaves_out_is_asked_for_elsewhere(
    bench: Bench, omits: set[str], tree: bool
) -> None:
    repository = bench.hub.repository(NAME)
    for number in (1, 2):
        repository.add(f"model.Q4_K_M-0000{number}-of-00002.gguf", b"GGUF" + b"x" * number)
    repository.add("README.md", b"# A model")
    expected = await bench.resolve()
    repository.omits = frozenset(omits)
    if not tree and "siblings" not in omits:
        bench.hub.fail(404, times=None, where="api", path="tree")
    bench.hub.tree_page_size = 2
    assert await bench.resolve() == expected
    assert bench.hub.bytes_sent() == 0


async def test_other_models_are_listed_with_the_sizes_that_the_tree_has(bench: Bench) -> None:
    repository = bench.hub.repository(NAME)
    repository.add(MODEL, CONTENT)
    repository.add("model.Q8_0.gguf", CONTENT * 2)
    repository.omits = frozenset({"size", "lfs"})
    answer = await bench.answer()
    assert [(one.selector, one.size) for one in answer.alternatives.nearest] == [("Q8_0", 2 * len(CONTENT))]
    bench.hub.fail(404, times=None, where="api", path="tree")
    answer = await bench.answer()
    assert (answer.alternatives.nearest, answer.alternatives.more) == ((), 1), "its size is not known"


@pytest.mark.parametrize("status", [400, 404, 405])
async def test_a_gated_model_needs_no_auth_check(bench: Bench, status: int) -> None:
    bench.hub.repository(NAME, gated=True).add(MODEL, CONTENT)
    bench.hub.tokens.add("hf_known")
    bench.hub.fail(status, times=None, where="api", path="auth-check")
    plan = await bench.resolve(credentials=token_for(bench.hub, "hf_good"))
    assert plan.files[0].size == len(CONTENT)
    assert bench.hub.bytes_sent() == 0
    for token in ("hf_known", None):
        with pytest.raises(LicenseNotAccepted, match="gated"):
            await bench.resolve(credentials=token_for(bench.hub, token) if token else None)


@pytest.mark.parametrize("name", ["OWNER/model-gguf", "former/name"])
async def test_every_spelling_of_a_repository_is_one_file(bench: Bench, name: str) -> None:
    repository = bench.hub.repository(NAME)
    content = tiny_gguf()
    repository.add(MODEL, content)
    repository.former_names.add("former/name")
    plain, spelled = await bench.resolve(), await bench.resolve(f"hf:{name}")
    assert spelled.ref == f"hf:{name}", "the ref stays as it is written"
    assert facts(spelled) == facts(plain)
    assert spelled.files[0].part_key == plain.files[0].part_key
    assert (spelled.repository, plain.repository) == (NAME, NAME)
    await bench.transfer(spelled)
    assert (bench.root / f"hf/{NAME}/{MODEL}").read_bytes() == content


# A hub of one repository whose answers are scripted.

Reply = tuple[int, Mapping[str, str], bytes]


class Script:
    """A handler that answers by the kind of request: `info`, `tree`, `HEAD` and `GET` of the file. Others are 404."""

    def __init__(self, **replies: Reply) -> None:
        self._replies = replies

    async def answer(self, request: web.Request) -> web.Response:
        kind = "tree" if "/tree/" in request.path else "info" if "/api/" in request.path else request.method
        status, headers, body = self._replies.get(kind, (404, {}, b""))
        return web.Response(status=status, headers=headers, body=body)


@asynccontextmanager
async def serving(handler: Callable[[web.Request], Awaitable[web.Response]]) -> AsyncIterator[str]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    async with TestServer(application) as running:
        yield str(running.make_url("")).rstrip("/")


async def resolve(endpoint: str, ref: str = REF, *, projector: bool = False) -> Plan:
    settings = NetworkSettings(NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"),)))
    async with open_client(settings) as client:
        return (await Resolver(client).resolve(Resolve("1", ref, endpoint, projector=projector))).plan


def document(value: object, **headers: str) -> Reply:
    return 200, {"Content-Type": "application/json", **headers}, json.dumps(value).encode()


def described(**fields: object) -> Reply:
    """A model whose only file has these fields."""
    return document({"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": MODEL, **fields}]})


LFS = {"sha256": SHA256, "size": 23}
WHOLE = described(size=23, lfs=LFS)
LINKED = {"X-Linked-Size": "23", "X-Linked-ETag": f'"{SHA256}"', "X-Repo-Commit": COMMIT}
BARE = described()
FOREIGN = {"Location": "https://cdn.test/x?Signature=secret"}

FOUND: dict[str, tuple[dict[str, Reply], str | None]] = {
    "on the redirect to a content host": ({"HEAD": (302, {**FOREIGN, **LINKED}, b"")}, SHA256),
    "on the file itself": ({"HEAD": (200, LINKED, CONTENT)}, SHA256),
    "by the length of the file": ({"HEAD": (200, {"ETag": f'"{"e" * 64}"'}, CONTENT)}, None),
    "by a range, as HEAD is refused": (
        {"HEAD": (405, {}, b""), "GET": (206, {"Content-Range": "bytes 0-0/23"}, b"G")},
        None,
    ),
    "on the redirect of a GET, as HEAD is refused": (
        {"HEAD": (403, {}, b""), "GET": (302, {**FOREIGN, **LINKED}, b"")},
        SHA256,
    ),
    "by a weak tag": ({"HEAD": (200, {**LINKED, "X-Linked-ETag": f'W/"{SHA256}"'}, b"")}, SHA256),
}


@pytest.mark.parametrize("kind", FOUND)
async def test_size_and_digest_are_read_from_headers(kind: str) -> None:
    replies, digest = FOUND[kind]
    async with serving(Script(info=BARE, **replies).answer) as endpoint:
        (file,) = (await resolve(endpoint)).files
    assert (file.size, file.digest and file.digest.hexadecimal) == (23, digest)


async def test_a_mirror_that_redirects_all_to_another_hub_is_followed_to_what_describes_the_file() -> None:
    async with serving(Script(info=BARE, GET=(302, {**FOREIGN, **LINKED}, b"")).answer) as hub:

        async def mirror(request: web.Request) -> web.Response:
            return web.Response(status=308, headers={"Location": f"{hub}{request.rel_url}"})

        async with serving(mirror) as endpoint:
            (file,) = (await resolve(endpoint)).files
    assert (file.size, str(file.digest)) == (23, f"sha256:{SHA256}")


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_description_that_a_proxy_compresses_is_read(encoding: str) -> None:
    status, headers, body = WHOLE
    packed = gzip.compress(body) if encoding == "gzip" else body
    async with serving(Script(info=(status, {**headers, "Content-Encoding": encoding}, packed)).answer) as endpoint:
        assert (await resolve(endpoint)).files[0].size == 23


MASKED = described(size=23, lfs={"sha256": "*" * 64, "size": 23})


@pytest.mark.parametrize(
    "replies",
    [{}, {"HEAD": (200, {}, CONTENT)}, {"HEAD": (403, {"X-Error-Code": "GatedRepo"}, b"")}, {"tree": document([])}],
)
async def test_a_masked_digest_means_no_access(replies: dict[str, Reply]) -> None:
    async with serving(Script(info=MASKED, **replies).answer) as endpoint:
        with pytest.raises(LicenseNotAccepted, match="hf:owner/Model-GGUF is gated"):
            await resolve(endpoint)


async def test_a_masked_digest_does_not_matter_if_the_headers_of_the_file_tell_it() -> None:
    async with serving(Script(info=MASKED, HEAD=(302, {**FOREIGN, **LINKED}, b"")).answer) as endpoint:
        assert str((await resolve(endpoint)).files[0].digest) == f"sha256:{SHA256}"


PAGE = (200, {"Content-Type": "text/html; charset=utf-8"}, b"<!doctype html><title>Sign in</title>")

REFUSED: dict[str, tuple[dict[str, Reply], str]] = {
    "a web page": ({"info": PAGE}, "sent a web page when asked for hf:owner/Model-GGUF"),
    "an empty body": ({"info": (200, {}, b"")}, "sent an empty body"),
    "no JSON": ({"info": (200, {}, b"Welcome")}, "sent what is no JSON"),
    "half of it": ({"info": (200, {}, WHOLE[2][:-9])}, "sent what is no JSON"),
    "no UTF-8": ({"info": (200, {}, b'{"id": "\xff"}')}, "sent what is no JSON"),
    "nested without end": ({"info": (200, {}, b'{"config":' + b"[" * 1_000_000)}, "sent what is no JSON"),
    "another encoding": ({"info": (200, {"Content-Encoding": "br"}, b"x")}, "encoded as 'br'"),
    "a wrong encoding": ({"info": (200, {"Content-Encoding": "gzip"}, b"no gzip")}, "not encoded as gzip"),
    "a list for an object": ({"info": document([])}, "Expected `object`, got `array`"),
    "null": ({"info": document(None)}, "Expected `object`, got `null`"),
    "an object for a list": ({"info": document({"siblings": {}})}, "got `object`"),
    "a number as text": ({"info": described(size="23")}, "got `str` - at `$.siblings[0].size`"),
    "a negative size": ({"info": described(size=-1)}, "size"),
    "a huge size": ({"info": described(size=2**60)}, "size"),
    "a name that is a number": ({"info": document({"siblings": [{"rfilename": 1}]})}, "rfilename"),
    "a file without a name": ({"info": document({"siblings": [{}]})}, "rfilename"),
    "a name of a megabyte": ({"info": document({"siblings": [{"rfilename": "x" * 2**20}]})}, "rfilename"),
    "a digest of other characters": ({"info": described(size=23, lfs={"sha256": "z" * 64})}, "as a SHA-256"),
    "a short digest": ({"info": described(size=23, lfs={"sha256": "ab"})}, "sent 'ab' as a SHA-256"),
    "a commit that is none": ({"info": document({"sha": "main", "siblings": []})}, "sent 'main' as a commit"),
    "a size that is no number": ({"info": BARE, "HEAD": (200, {"X-Linked-Size": "12k"}, b"")}, "'12k' as a size"),
    "a web page for the file": ({"info": BARE, "HEAD": PAGE}, "sent a web page"),
    "no size anywhere": ({"info": BARE, "HEAD": (405, {}, b""), "GET": (206, {}, b"G")}, "does not tell the size of"),
    "a tree of objects": ({"info": document({"sha": COMMIT}), "tree": document({})}, "got `object`"),
    "a tree that links to itself": (
        {"info": document({"sha": COMMIT}), "tree": document([], Link='<?cursor=1>; rel="next"')},
        "pages without an end",
    ),
    "bytes after the end of gzip": (
        {"info": (200, {"Content-Encoding": "gzip"}, gzip.compress(WHOLE[2]) + b"x" * 1000)},
        "bytes after the end",
    ),
    "a redirect to nowhere": ({"info": (302, {"Location": "https://[::1/"}, b"")}, "malformed address"),
    "a redirect to itself": ({"info": (302, {"Location": "?again"}, b"")}, "redirects again and again"),
    "no commit": (
        {"info": document({"siblings": [{"rfilename": MODEL, "size": 1}]}), "HEAD": (200, {}, b"x")},
        "does not tell the commit",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_an_answer_of_another_shape_is_a_named_error(kind: str) -> None:
    replies, says = REFUSED[kind]
    async with serving(Script(**replies).answer) as endpoint:
        with pytest.raises(SourceUnavailable) as caught:
            await resolve(endpoint)
    message = caught.value.message
    assert says in message
    assert "secret" not in message
    assert message.isprintable()
    assert len(message) < 400
    assert endpoint in message


MANY = [{"rfilename": f"{number}.gguf", "size": 1} for number in range(20_001)]
TREE = [{"path": one["rfilename"], "size": 1} for one in MANY]
BOMB = gzip.compress(b'{"id": "' + b" " * (64 * 2**20))

TOO_LARGE: dict[str, tuple[dict[str, Reply], str]] = {
    "files": ({"info": document({"sha": COMMIT, "siblings": MANY})}, "more than 20,000 files"),
    "bytes": ({"info": (200, {}, b'{"id": "' + b" " * 2**23)}, "more than 8 MiB"),
    "bytes after decompression": ({"info": (200, {"Content-Encoding": "gzip"}, BOMB)}, "more than 8 MiB"),
    "a header of gzip without end": (
        {"info": (200, {"Content-Encoding": "gzip"}, b"\x1f\x8b\x08\x08" + b"\0" * 6 + b"x" * 2**23)},
        "more than 8 MiB",
    ),
    "a page of a tree": ({"info": document({"sha": COMMIT}), "tree": document(TREE)}, "more than 20,000 files"),
    "all pages of a tree": (
        {"info": document({"sha": COMMIT}), "tree": document(TREE[:15_000], Link='<?cursor=1>; rel="next"')},
        "more than 20,000 files",
    ),
}


@pytest.mark.parametrize("kind", TOO_LARGE)
async def test_a_listing_that_is_too_large_is_refused_with_advice(kind: str) -> None:
    replies, says = TOO_LARGE[kind]
    async with serving(Script(**replies).answer) as endpoint:
        for ref in (REF, f"{REF}:Q4_K_M"):
            with pytest.raises(UnsupportedSource) as caught:
                await resolve(endpoint, ref)
            message = caught.value.message
            assert f"{endpoint} lists {says} when asked for {ref}" in message
            assert message.endswith(f"as in {REF}:DIRECTORY/ or {REF}:DIRECTORY/MODEL.gguf")
            assert len(message) < 400


@pytest.mark.parametrize("knows_expand", [True, False])
@pytest.mark.parametrize("selector", ["big/", "big/model-00002-of-00002.gguf"])
async def test_a_directory_or_a_path_reaches_a_model_in_a_repository_that_is_too_large(
    knows_expand: bool, selector: str
) -> None:
    names = [f"big/model-0000{number}-of-00002.gguf" for number in (1, 2)]
    whole = Script(info=document({"sha": COMMIT, "siblings": MANY}), HEAD=(200, LINKED, b""))
    below = Script(tree=document([{"path": name, "size": 23, "lfs": {"oid": SHA256}} for name in names]))

    async def answer(request: web.Request) -> web.Response:
        if request.query.getall("expand", []) == ["sha", "gated"] and knows_expand:
            return web.json_response({"id": NAME, "sha": COMMIT, "gated": False})
        return await (below if request.path.endswith("/big") else whole).answer(request)

    async with serving(answer) as endpoint:
        plan = await resolve(endpoint, f"{REF}:{selector}")
        with pytest.raises(SourceNotFound):
            await resolve(endpoint, f"{REF}:none/")
    assert [file.path for file in plan.files] == [f"hf/{NAME}/{name}" for name in names]
    assert {(file.size, str(file.digest)) for file in plan.files} == {(23, f"sha256:{SHA256}")}
    assert plan.revision == COMMIT


@pytest.mark.parametrize("selector", ["big/", "big/model.gguf", "Q4_K_M"])
async def test_a_projector_is_not_looked_for_in_a_repository_that_is_too_large(selector: str) -> None:
    async with serving(Script(info=document({"sha": COMMIT, "siblings": MANY})).answer) as endpoint:
        with pytest.raises(
            UnsupportedSource, match=r"too much to find its projector in: ask for no projector .*as in hf:"
        ):
            await resolve(endpoint, f"{REF}:{selector}", projector=True)


async def test_a_directory_that_is_too_large_itself_is_refused() -> None:
    script = Script(info=document({"sha": COMMIT, "siblings": MANY}), tree=document(TREE))
    async with serving(script.answer) as endpoint:
        with pytest.raises(UnsupportedSource, match="lists more than 20,000 files"):
            await resolve(endpoint, f"{REF}:big/")


async def test_a_chosen_name_that_hides_its_ending_is_shown_escaped() -> None:
    name = "model-\u202efugg.gguf"
    hidden = document({"sha": COMMIT, "siblings": [{"rfilename": name, "size": 1}, {"rfilename": "\u200b.md"}]})
    async with serving(Script(info=hidden).answer) as endpoint:
        with pytest.raises(UnsupportedSource, match=r"'model-\\u202efugg\.gguf' can't be stored: .* invisible"):
            await resolve(endpoint)


async def test_very_many_other_models_are_only_counted() -> None:
    siblings = [{"rfilename": MODEL, "size": 23, "lfs": LFS}, *MANY[:2000]]
    settings = NetworkSettings(NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"),)))
    async with (
        serving(Script(info=document({"sha": COMMIT, "siblings": siblings})).answer) as endpoint,
        open_client(settings) as client,
    ):
        found = await Resolver(client).resolve(Resolve("1", REF, endpoint))
    assert (found.plan.files[0].size, found.alternatives) == (23, Alternatives((), 2000))


async def test_a_file_that_the_mirror_lists_and_does_not_have_is_not_found() -> None:
    async with serving(Script(info=BARE, HEAD=(404, {"X-Error-Code": "EntryNotFound"}, b"")).answer) as endpoint:
        with pytest.raises(SourceNotFound, match="has no such file"):
            await resolve(endpoint)
