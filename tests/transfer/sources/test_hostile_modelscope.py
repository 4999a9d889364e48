"""Answers of a server that is no ModelScope, or a hostile one: any of them is a plan or a named error, and bounded."""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from typing import TypeVar

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from model_provisioner.domain.store.plan import Plan
from model_provisioner.transfer.clients.bodies import Malformed, TooLarge
from model_provisioner.transfer.clients.hubs.hub_answers import MAX_SIZE
from model_provisioner.transfer.clients.hubs.modelscope_answers import (
    Refused,
    parse_code,
    parse_commit,
    parse_listing,
    parse_refs,
)
from model_provisioner.transfer.http.client import open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.transfer.sources.test_mirrors import serving
from tests.transfer.sources.web import SETTINGS

COMMIT = "c" * 40
SHA256 = "a" * 64
MODEL = {"Path": "model.Q4_K_M.gguf", "Type": "blob", "Size": 100, "Sha256": SHA256}
REF = "modelscope:owner/model"
TOKEN = "token-canary-0123456789"
Answer = tuple[int, str, bytes]


def said(data: object, code: object = 200, *, success: object = True) -> bytes:
    return json.dumps({"Code": code, "Data": data, "Success": success}).encode()


def listed(*entries: object) -> bytes:
    return said({"Files": entries})


class Server:
    """Answers by the kind of question: `commits`, `files`, `file`, `me` and `git`, each with status, type and body.

    A function gets the request.
    """

    def __init__(self, **answers: bytes | Answer | Callable[[web.Request], bytes]) -> None:
        self._answers = {"commits": said({"Commit": [{"Id": COMMIT}]}), "files": listed(MODEL), "file": b"G", **answers}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        kinds = {"commits": "commits", "files": "files", "repo": "file", "me": "me", "refs": "git"}
        kind = kinds.get(request.path.rpartition("/")[2], "")
        self.asked.append(kind)
        found = self._answers.get(kind, (404, "text/plain", b""))
        if callable(found):
            found = found(request)
        status, of_type, body = found if isinstance(found, tuple) else (200, "application/json", found)
        return web.Response(status=status, headers={"Content-Type": of_type}, body=body)

    def running(self) -> AbstractAsyncContextManager[str]:
        return serving(self.answer)


async def resolve(server: Server, ref: str = REF, token: str | None = None) -> Plan:
    async with server.running() as endpoint, open_client(SETTINGS) as client:
        credentials = Credentials(token, (endpoint,)) if token else None
        return (await Resolver(client, 20).resolve(Resolve("1", ref, endpoint, credentials=credentials))).plan


async def test_the_server_of_these_tests_is_good_without_a_fault() -> None:
    plan = await resolve(Server())
    assert (plan.revision, plan.files[0].size, str(plan.files[0].digest)) == (COMMIT, 100, f"sha256:{SHA256}")


MALFORMED = "no answer of ModelScope"
HTML = (200, "text/html; charset=utf-8", b"<html>log in</html>")
BAD = [
    ("commits", HTML, SourceUnavailable, MALFORMED),
    ("commits", b"", SourceUnavailable, MALFORMED),
    ("commits", b"[]", SourceUnavailable, MALFORMED),
    ("commits", b"{}", SourceUnavailable, MALFORMED),
    ("commits", b"{" * 30_000, SourceUnavailable, MALFORMED),
    ("commits", said({"Commit": "c"}), SourceUnavailable, MALFORMED),
    ("commits", said({"Commit": [{"Id": "master"}]}), SourceUnavailable, MALFORMED),
    ("commits", said({"Commit": [{"Id": "../" * 20}]}), SourceUnavailable, MALFORMED),
    ("commits", said({"Commit": [{"Id": 7}]}), SourceUnavailable, MALFORMED),
    ("commits", said({"Commit": []}), SourceNotFound, "no such revision"),
    ("commits", said({"Commit": None}), SourceNotFound, "no such revision"),
    ("commits", said(None, 10010205001, success=False), SourceNotFound, "does not exist"),
    ("commits", said([], "10010200001", success=False), AccessDenied, "gives no access"),
    ("commits", said(None, 5, success=False), SourceUnavailable, "with the code 5"),
    ("commits", said(None, "x", success=False), SourceUnavailable, "with the code None"),
    ("commits", (404, "application/json", b'{"Code": 10010205001}'), SourceNotFound, "does not exist"),
    ("commits", (404, "application/json", b'{"Code": 10010200001}'), AccessDenied, "gives no access"),
    ("commits", (404, "application/json", b'{"Code": [1]}'), SourceNotFound, "is not there"),
    ("commits", (404, "text/html", b"<html>"), SourceNotFound, "is not there"),
    ("commits", (404, "application/json", b" " * 100_000), SourceNotFound, "is not there"),
    ("commits", (401, "application/json", b"{}"), AccessDenied, "without a credential"),
    ("commits", (421, "text/plain", b""), SourceUnavailable, "answered 421"),
    ("commits", (429, "text/plain", b""), RateLimited, "limits how often"),
    ("commits", (503, "text/plain", b"x" * 100_000), SourceUnavailable, "answered 503"),
    ("files", HTML, SourceUnavailable, MALFORMED),
    ("files", said({}), SourceUnavailable, MALFORMED),
    ("files", said(None), SourceUnavailable, MALFORMED),
    ("files", said({"Files": {}}), SourceUnavailable, MALFORMED),
    ("files", said({"Files": None}), SourceNotFound, "no GGUF file"),
    ("files", listed({**MODEL, "Size": -1}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Size": "100"}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Size": 1.5}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Size": 2**46 + 1}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Sha256": 7}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Sha256": "a" * 63}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Sha256": "*" * 64}), AccessDenied, "gives no access"),
    ("files", listed({**MODEL, "Path": None}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Path": "x" * 1025}), SourceUnavailable, MALFORMED),
    ("files", listed({**MODEL, "Path": "../model.gguf"}), UnsupportedSource, "can't be stored"),
    ("files", listed({**MODEL, "Path": "/model.gguf"}), UnsupportedSource, "can't be stored"),
    ("files", listed({**MODEL, "Path": "a\\b.gguf"}), UnsupportedSource, "can't be stored"),
    ("files", listed({**MODEL, "Path": "a\u202eb.gguf"}), UnsupportedSource, "can't be stored"),
    ("files", listed({**MODEL, "Path": ".provisioner/x.gguf"}), UnsupportedSource, "can't be stored"),
    ("files", listed({**MODEL, "Type": "tree"}), SourceNotFound, "no GGUF file"),
    ("files", listed({**MODEL, "Type": "commit"}), SourceNotFound, "no GGUF file"),
    ("files", listed(*[MODEL] * 20_001), UnsupportedSource, "more than 20,000 files"),
    ("files", said({"Files": [], "x": "x" * 9 * 1024**2}), UnsupportedSource, "more than 8 MiB"),
    ("file", HTML, SourceUnavailable, MALFORMED),
    ("file", (404, "application/json", b'{"Code": 10010200001}'), AccessDenied, "gives no access"),
    ("file", (403, "text/plain", b""), AccessDenied, "without a credential"),
    ("file", (500, "text/plain", b""), SourceUnavailable, "answered 500"),
]


@pytest.mark.parametrize(("kind", "answer", "error", "says"), BAD, ids=lambda value: str(value)[:50])
async def test_a_wrong_answer_is_a_named_error(
    kind: str, answer: bytes | Answer, error: type[ProvisionError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        await resolve(Server(**{kind: answer}))
    assert type(caught.value) is error
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 600


async def test_a_size_that_nothing_tells_is_an_error() -> None:
    unknown = {**MODEL, "Size": None, "Sha256": None}
    plan = await resolve(Server(files=listed(unknown), file=b"GGUF of ten"))
    assert (plan.files[0].size, plan.files[0].digest) == (11, None), "of the Content-Length"
    redirecting = Server(files=listed(unknown), file=(304, "text/plain", b""))
    with pytest.raises(SourceUnavailable):
        await resolve(redirecting)


async def test_directories_without_an_end_are_not_followed() -> None:
    def deeper(request: web.Request) -> bytes:
        root = request.query.get("Root", "")
        prefix = f"{root}/" if root else ""
        files = [{**MODEL, "Path": f"{prefix}{number}.txt"} for number in range(2990)]
        directories = [{"Path": f"{prefix}d{number}", "Type": "tree"} for number in range(5)]
        cut_off = [*files, *[{**MODEL, "Path": f"{prefix}d0/{number}"} for number in range(10)]]
        return listed(*(cut_off if request.query["Recursive"] == "True" else directories))

    server = Server(files=deeper)
    with pytest.raises(UnsupportedSource, match="more than 300 requests to list the repository"):
        await resolve(server, f"{REF}:Q4_K_M")
    assert server.asked.count("files") <= 301


@pytest.mark.parametrize("path", ["", "d", "d/e/f", "../d", "other"])
async def test_a_directory_that_is_not_where_it_was_asked_for_is_an_error(path: str) -> None:
    def elsewhere(request: web.Request) -> bytes:
        if request.query["Recursive"] == "True":
            prefix = f"{request.query['Root']}/" if "Root" in request.query else ""
            return listed(*[{**MODEL, "Path": f"{prefix}{number}.txt"} for number in range(3000)])
        return listed({"Path": path if "Root" in request.query else "d", "Type": "tree"})

    with pytest.raises(SourceUnavailable, match=r"not in the directory|not where it was asked"):
        await resolve(Server(files=elsewhere))


async def test_more_files_than_are_read_are_refused() -> None:
    numbers = count()

    def many(request: web.Request) -> bytes:
        root = request.query.get("Root")
        if root is None:
            whole = request.query["Recursive"] == "True"
            entries = [{**MODEL, "Path": f"{number}.txt"} for number in range(3000)]
            return listed(*(entries if whole else [{"Path": f"d{number}", "Type": "tree"} for number in range(20)]))
        return listed(*[{**MODEL, "Path": f"{root}/{next(numbers)}.gguf"} for _ in range(2999)])

    with pytest.raises(UnsupportedSource, match="lists more than 20,000 files"):
        await resolve(Server(files=many))


REFS = [
    b"",
    b"<html>",
    b"001e# service=git-upload-pack\n0000",
    b"001e# service=git-upload-pack\n0000" + b"f" * 100_000,
    b"001e# service=git-upload-pack\n0000003f" + b"C" * 40 + b" refs/heads/v1\n",
    b"x" * 2_000_000,
]


@pytest.mark.parametrize("refs", REFS, ids=lambda refs: str(refs[:40]))
async def test_refs_that_are_none_confirm_nothing(refs: bytes) -> None:
    with pytest.raises((SourceUnavailable, SourceNotFound), match=r"name the commit|no such revision"):
        await resolve(Server(git=refs), f"{REF}@v1")


async def test_a_token_that_is_sent_back_is_not_shown() -> None:
    with pytest.raises(SourceUnavailable, match="sent back a secret"):
        await resolve(Server(files=listed({**MODEL, "Path": f"{TOKEN}.gguf"})), token=TOKEN)
    refusal = (404, "application/json", json.dumps({"Code": 10010200001, "Message": TOKEN}).encode())
    with pytest.raises(AccessDenied) as caught:
        await resolve(Server(commits=refusal), token=TOKEN)
    assert "canary" not in caught.value.message


async def test_the_expected_digest_is_compared_with_the_listed_one() -> None:
    async with Server().running() as endpoint, open_client(SETTINGS) as client:
        with pytest.raises(DigestMismatch):
            await Resolver(client).resolve(Resolve("1", REF, endpoint, digest=f"sha256:{'b' * 64}"))


VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from([SHA256, COMMIT, "*" * 64])
)
KEYS = st.sampled_from(["Code", "Data", "Success", "Files", "Commit", "Id", "Path", "Type", "Size", "Sha256"])
JSON = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.text(), inner), max_leaves=30)
ENTRY = st.dictionaries(st.sampled_from(["Path", "Type", "Size", "Sha256", "Id"]), VALUES)
DATA = st.dictionaries(st.sampled_from(["Files", "Commit"]), st.lists(ENTRY) | VALUES)
BODIES = st.binary() | (JSON | st.fixed_dictionaries({"Data": DATA}, optional={"Code": VALUES, "Success": VALUES})).map(
    lambda value: json.dumps(value).encode()
)


T = TypeVar("T")


def read(parse: Callable[[], T]) -> T | None:
    """What `parse` returns; None if it raises a named error, whose words are for a message."""
    try:
        return parse()
    except (Malformed, TooLarge, Refused) as error:
        words = str(error)
    assert words.isprintable()
    assert len(words) < 200
    return None


@given(BODIES, st.sampled_from(["", "d"]))
def test_any_body_is_a_value_or_a_named_error(body: bytes, root: str) -> None:
    listing = read(lambda: parse_listing(body, root))
    for file in listing.files if listing else ():
        assert file.path.startswith(root)
        assert file.size is None or 0 <= file.size <= MAX_SIZE
    commit = read(lambda: parse_commit(body))
    assert commit is None or len(commit) in range(40, 65)
    assert not read(lambda: parse_refs(body))
    assert isinstance(parse_code(body), int | None)
