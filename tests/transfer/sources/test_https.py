"""Models on web servers: what pins one, where its digest comes from, who may read it, and what is fetched again."""

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    DigestMismatch,
    IncompleteModel,
    InvalidRef,
    NotGGUF,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.store.plan import Pin
from tests.support import nginx
from tests.support.ggufs import tiny_adapter, tiny_gguf, write_split
from tests.transfer.sources.web import Fetcher, FileServer, fetcher, serving, sha256

CANARY = "canary-0123456789abcdef"
SIZE = 3 * 1024 * 1024
LARGE = 24 * 1024 * 1024  # in several ranges
MODEL = tiny_gguf(size=SIZE)
OTHER = tiny_gguf(size=SIZE, seed=1)
DATE, LATER = "Mon, 30 Nov 2026 08:00:00 GMT", "Mon, 30 Nov 2026 08:00:01 GMT"


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[tuple[FileServer, Fetcher]]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(serving(FileServer(MODEL)))
        yield server, await stack.enter_async_context(fetcher(tmp_path / "volume"))


Running = tuple[FileServer, Fetcher]


async def test_a_file_is_fetched_in_ranges_and_its_digest_computed(running: Running) -> None:
    server, fetch = running
    plan = await fetch.resolve(f"{server.url}/team/model.gguf")
    (file,) = plan.files
    assert (file.size, file.digest, plan.revision, file.pin) == (len(MODEL), None, '"v1"', Pin("If-Range", '"v1"'))
    assert file.path == f"http/{server.url.removeprefix('http://').replace(':', '+')}/team/model.gguf"
    provided = await fetch.transfer(plan, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.files[0].digest == sha256(MODEL)
    assert {request.headers.get("If-Range") for request in server.log[1:]} == {'"v1"'}
    assert not [request for request in server.log if request.method == "HEAD"]
    assert provided.received == len(MODEL)


ENCODED = base64.b64encode(hashlib.sha256(MODEL).digest()).decode()


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": f"sha-256=:{ENCODED}:"},
        {"Repr-Digest": f"sha-512=:AAAA:, sha-256=:{ENCODED}:"},
        {"X-Checksum-Sha256": hashlib.sha256(MODEL).hexdigest()},
        {"x-amz-checksum-sha256": ENCODED, "x-amz-checksum-type": "FULL_OBJECT"},
        {"x-amz-checksum-sha256": ENCODED},
    ],
    ids="+".join,
)
async def test_the_digest_that_the_server_states_is_the_expected_one(running: Running, headers: dict[str, str]) -> None:
    server, fetch = running
    server.headers = headers
    plan = await fetch.resolve(f"{server.url}/model.gguf")
    assert (str(plan.files[0].digest), plan.files[0].digest_published, plan.files[0].pin) == (sha256(MODEL), True, None)
    server.content = OTHER
    with pytest.raises(DigestMismatch):
        await fetch.transfer(plan)


@pytest.mark.parametrize(
    "headers",
    [
        {"Repr-Digest": "sha-256=:AAAA:"},
        {"Repr-Digest": ENCODED},
        {"X-Checksum-Sha256": "0" * 63},
        {"x-amz-checksum-sha256": f"{ENCODED}-3"},
        {"x-amz-checksum-sha256": ENCODED, "x-amz-checksum-type": "COMPOSITE"},
        {"Content-Digest": f"sha-256=:{ENCODED}:"},
    ],
    ids="+".join,
)
async def test_what_is_no_digest_of_the_whole_file_is_not_taken_for_one(
    running: Running, headers: dict[str, str]
) -> None:
    server, fetch = running
    server.headers = headers
    assert (await fetch.resolve(f"{server.url}/model.gguf")).files[0].digest is None


async def test_an_adapter_is_fetched_by_its_address(running: Running) -> None:
    server, fetch = running
    server.content = tiny_adapter()
    assert fetch.content(await fetch.fetch(f"{server.url}/lora/adapter.gguf")) == tiny_adapter()


async def test_the_digest_of_the_user_is_compared_with_that_of_the_server(running: Running) -> None:
    server, fetch = running
    server.headers = {"X-Checksum-Sha256": hashlib.sha256(OTHER).hexdigest()}
    with pytest.raises(DigestMismatch, match="correct the digest"):
        await fetch.resolve(f"{server.url}/model.gguf", digest=sha256(MODEL))


async def test_a_server_without_ranges_is_read_in_one_stream(running: Running) -> None:
    server, fetch = running
    server.ranges = False
    provided = await fetch.fetch(f"{server.url}/model.gguf", connections=4)
    assert fetch.content(provided) == MODEL


async def test_an_interrupted_download_goes_on_at_the_same_version(running: Running) -> None:
    server, fetch = running
    server.content = tiny_gguf(size=LARGE, seed=5)
    plan = await fetch.resolve(f"{server.url}/model.gguf")
    first = asyncio.create_task(fetch.transfer(plan))
    while not [line for line in fetch.recorder.progress_lines if line[0] > LARGE // 3]:  # noqa: ASYNC110 -- it is told so
        await asyncio.sleep(0.001)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    kept, received = fetch.recorder.progress_lines[-1][0], fetch.recorder.received
    again = await fetch.resolve(f"{server.url}/model.gguf", revision=plan.revision)
    assert again == plan
    provided = await fetch.transfer(again)
    assert fetch.content(provided) == server.content
    assert provided.received == len(server.content) - kept
    assert 0 < kept <= received


VALIDATORS = [
    ('"v1"', DATE, '"v1"'),
    ('W/"v1"', DATE, DATE),
    (None, DATE, DATE),
    ('W/"v1"', None, None),
    (None, None, None),
    ('"unfinished', DATE, DATE),
    (None, "yesterday", None),
]


@pytest.mark.parametrize(("etag", "modified", "pinned"), VALIDATORS)
async def test_a_strong_tag_or_a_date_pins_the_version(
    running: Running, etag: str | None, modified: str | None, pinned: str | None
) -> None:
    server, fetch = running
    server.etag, server.modified = etag, modified
    plan = await fetch.resolve(f"{server.url}/model.gguf")
    assert plan.files[0].pin == (Pin("If-Range", pinned) if pinned else None)
    assert plan.revision == (f"{DATE}, {len(MODEL)} bytes" if pinned == DATE else pinned)
    assert fetch.content(await fetch.transfer(plan)) == MODEL


@pytest.mark.parametrize("validators", [('"v2"', None), (None, LATER)], ids=["tag", "date"])
@pytest.mark.parametrize("ranges", [True, False])
async def test_a_file_that_changes_on_the_way_begins_anew_and_is_never_mixed(
    running: Running, validators: tuple[str | None, str | None], ranges: bool
) -> None:
    server, fetch = running
    server.content, other = (tiny_gguf(size=LARGE, seed=seed) for seed in (2, 3))
    server.etag, server.modified = ('"v1"', None) if validators[0] else (None, DATE)
    plan = await fetch.resolve(f"{server.url}/model.gguf")
    server.changed = FileServer(other, *validators)
    server.change_after = server.sent + 1
    with pytest.raises(SourceUnavailable, match="has changed at its source"):
        await fetch.transfer(plan)
    server.ranges = ranges
    again = await fetch.resolve(f"{server.url}/model.gguf", revision=plan.revision)
    assert again.revision != plan.revision
    assert again.files[0].part_key != plan.files[0].part_key
    assert fetch.content(await fetch.transfer(again)) == other


async def test_a_file_with_a_digest_is_not_bound_to_a_validator(running: Running) -> None:
    """The hosts of one service may give the same bytes different entity tags."""
    server, fetch = running
    plan = await fetch.resolve(f"{server.url}/model.gguf", digest=sha256(MODEL))
    assert (plan.files[0].pin, plan.revision) == (None, '"v1"')
    server.etag = '"of another host"'
    assert fetch.content(await fetch.transfer(plan)) == MODEL


HTML = {"Content-Type": "text/html; charset=utf-8"}
REFUSALS: list[tuple[tuple[int, dict[str, str], bytes], type[ProvisionError], str]] = [
    ((200, HTML, b"<html>please sign in</html>"), NotGGUF, "a web page.*to log in"),
    ((206, {**HTML, "Content-Range": "bytes 0-0/9"}, b"<"), NotGGUF, "to log in"),
    ((401, {"WWW-Authenticate": "Basic realm=x"}, b""), AccessDenied, "without a credential .401. and asks for Basic"),
    ((403, {}, b""), AccessDenied, "give one that is for this host"),
    ((404, {}, b""), SourceNotFound, "is not there .404.: check the address"),
    ((410, {}, b""), SourceNotFound, "410"),
    ((416, {"Content-Range": "bytes */0"}, b""), NotGGUF, "is empty"),
    ((429, {"Retry-After": "7"}, b""), RateLimited, "limits how often"),
    ((500, {}, b""), SourceUnavailable, "answered 500"),
    ((503, {"Retry-After": "3"}, b""), SourceUnavailable, "answered 503"),
    ((206, {"Content-Range": "bytes 0-0/*"}, b"G"), SourceUnavailable, "does not tell the size"),
    ((206, {"Content-Range": "bytes 1-1/9"}, b"G"), SourceUnavailable, "does not tell the size"),
    ((206, {}, b"G"), SourceUnavailable, "does not tell the size"),
    ((206, {"Content-Range": f"bytes 0-0/{10**19}"}, b"G"), SourceUnavailable, "a size of"),
    ((200, {"Content-Encoding": "gzip"}, b"x"), SourceUnavailable, "encoded as 'gzip'"),
    ((302, {"Location": "ftp://elsewhere/x"}, b""), AddressNotAllowed, "not a scheme|ftp"),
    ((302, {"Location": "http://10.1.2.3/x"}, b""), AddressNotAllowed, "10.1.2.3"),
    ((302, {"Location": "http://169.254.169.254/x"}, b""), AddressNotAllowed, "169.254.169.254"),
]


@pytest.mark.parametrize(("answer", "kind", "says"), REFUSALS, ids=lambda value: str(value)[:40])
async def test_a_wrong_answer_is_named(
    running: Running, answer: tuple[int, dict[str, str], bytes], kind: type[ProvisionError], says: str
) -> None:
    server, fetch = running
    server.first = [answer]
    with pytest.raises(kind, match=says) as caught:
        await fetch.resolve(f"{server.url}/model.gguf")
    assert "sign in" not in caught.value.message


async def test_a_size_that_is_not_told_is_an_error_and_no_guess(running: Running) -> None:
    server, fetch = running
    server.ranges = server.length = False
    with pytest.raises(SourceUnavailable, match="does not tell the size"):
        await fetch.resolve(f"{server.url}/model.gguf")


async def test_redirects_without_an_end_are_an_error(running: Running) -> None:
    server, fetch = running
    server.first = [(302, {"Location": "/model.gguf"}, b"")] * 20
    with pytest.raises(SourceUnavailable, match="again and again"):
        await fetch.resolve(f"{server.url}/model.gguf")


async def test_what_is_no_gguf_is_told_before_it_is_fetched_whole(running: Running) -> None:
    server, fetch = running
    server.content = b"PK\x03\x04" + MODEL
    with pytest.raises(NotGGUF):
        await fetch.fetch(f"{server.url}/model.gguf")


CREDENTIALS = {
    "token": ({"token": CANARY}, ("Authorization", f"Bearer {CANARY}")),
    "basic": (
        {"token": None, "username": "reader", "password": CANARY},
        ("Authorization", "Basic " + base64.b64encode(f"reader:{CANARY}".encode()).decode()),
    ),
    "header": ({"token": None, "headers": {"X-JFrog-Art-Api": CANARY}}, ("X-JFrog-Art-Api", CANARY)),
}


@pytest.mark.parametrize("kind", CREDENTIALS)
async def test_a_credential_goes_to_its_own_host_only(running: Running, kind: str) -> None:
    server, fetch = running
    fields, server.needs = CREDENTIALS[kind]
    async with serving(FileServer(MODEL)) as content:
        server_ref, mine = f"{server.url}/model.gguf", Credentials(origins=(server.url,), **fields)  # type: ignore[arg-type] # the table has the fields of one class
        with pytest.raises(AccessDenied, match="without a credential"):
            await fetch.resolve(server_ref)
        with pytest.raises(AccessDenied, match="without a credential"):
            await fetch.resolve(server_ref, Credentials(origins=("https://elsewhere.example",), **fields))  # type: ignore[arg-type] # as above
        assert fetch.content(await fetch.fetch(server_ref, mine)) == MODEL
        server.first = [(302, {"Location": f"{content.url.replace('127.0.0.1', 'localhost')}/x"}, b"")] * 2
        plan = await fetch.resolve(server_ref, mine)
        await fetch.transfer(plan, mine)
        assert content.log
        assert not [request for request in content.log if CANARY in str(request.headers)]


async def test_a_query_is_appended_by_the_transfer_and_stands_nowhere_else(running: Running) -> None:
    server, fetch = running
    query = Credentials(None, (server.url,), query=f"sv=2026&sig={CANARY}%3D")
    plan = await fetch.resolve(f"{server.url}/model.gguf", query)
    assert CANARY not in repr(plan)
    await fetch.transfer(plan, query)
    assert {request.rel_url.raw_query_string for request in server.log} == {f"sv=2026&sig={CANARY}%3D"}
    assert not [path for path in fetch.root.rglob("*") if path.is_file() and CANARY.encode() in path.read_bytes()]


async def test_a_secret_that_a_server_sends_back_is_not_shown(running: Running) -> None:
    server, fetch = running
    query = Credentials(None, (server.url,), query=f"sig={CANARY}", headers={"X-Key": "header-canary-0123456789"})
    server.first = [(302, {"Location": f"http://{CANARY}.example/header-canary-0123456789"}, b"")]
    with pytest.raises(ProvisionError) as caught:
        await fetch.resolve(f"{server.url}/model.gguf", query)
    assert CANARY not in caught.value.message
    assert "header-canary" not in caught.value.message


async def test_a_web_page_that_comes_instead_of_a_range_is_never_written(running: Running) -> None:
    server, fetch = running
    plan = await fetch.resolve(f"{server.url}/model.gguf")
    server.first = [(200, HTML, b"<html>session over</html>")] * 2
    assert fetch.content(await fetch.transfer(plan)) == MODEL


ON_THE_WAY: list[tuple[int, dict[str, str], bytes]] = [
    (206, {"Content-Range": f"bytes 5-9/{len(MODEL)}", "ETag": '"v1"'}, b"wrong"),
    (206, {"Content-Range": "bytes 0-9/10", "ETag": '"v1"'}, b"0123456789"),
    (206, {"Content-Type": "multipart/byteranges; boundary=x", "ETag": '"v1"'}, b"--x"),
    (200, {"ETag": '"v1"', "Content-Encoding": "gzip"}, b"x" * 10),
    (500, {}, b""),
    (502, {"Content-Type": "text/html"}, b"<html>bad gateway"),
    (503, {"Retry-After": "0"}, b""),
    (408, {}, b""),
    (403, {}, b"<Error>"),
]


@pytest.mark.parametrize("answer", ON_THE_WAY, ids=lambda answer: f"{answer[0]} {sorted(answer[1].items())[:1]}")
async def test_one_wrong_answer_on_the_way_costs_no_byte_of_the_file(
    running: Running, answer: tuple[int, dict[str, str], bytes]
) -> None:
    server, fetch = running
    server.content = tiny_gguf(size=LARGE, seed=4)
    plan = await fetch.resolve(f"{server.url}/model.gguf")
    server.before = {3: answer}
    provided = await fetch.transfer(plan)
    assert fetch.content(provided) == server.content
    assert server.sent == len(server.content) + 1  # the byte that resolving asked for


@pytest.fixture
def files(tmp_path: Path) -> Path:
    found = tmp_path / "files"
    for name in ("private", "upload", "split"):
        (found / name).mkdir(parents=True)
    (found / "private/model.gguf").write_bytes(MODEL)
    (found / "model.gguf").write_bytes(MODEL)
    return found


@pytest.fixture
def server(files: Path, tmp_path: Path) -> Iterator[str]:
    with nginx.serving(files, tmp_path) as url:
        yield url


async def test_nginx_with_a_password(server: str, tmp_path: Path) -> None:
    mine = Credentials(None, (server,), username="reader", password="basic-canary")
    wrong = Credentials(None, (server,), username="reader", password="wrong")
    async with fetcher(tmp_path / "volume") as fetch:
        for credentials, says in ((None, "without a credential"), (wrong, "with the credential that was sent")):
            with pytest.raises(AccessDenied, match=says):
                await fetch.resolve(f"{server}/private/model.gguf", credentials)
        provided = await fetch.fetch(f"{server}/private/model.gguf", mine, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.received == len(MODEL)


async def test_a_file_that_is_replaced_by_webdav_is_fetched_anew(server: str, tmp_path: Path) -> None:
    address = f"{server}/upload/model.gguf"
    async with fetcher(tmp_path / "volume") as fetch, httpx.AsyncClient() as client:
        (await client.put(address, content=MODEL)).raise_for_status()
        plan = await fetch.resolve(address)
        assert fetch.content(await fetch.transfer(plan)) == MODEL
        (await client.delete(address)).raise_for_status()
        (await client.put(address, content=OTHER + b"\0" * 32)).raise_for_status()
        (fetch.root / plan.files[0].path).unlink()
        with pytest.raises(SourceUnavailable, match="has changed at its source"):
            await fetch.transfer(plan)
        again = await fetch.resolve(address, revision=plan.revision)
        assert again.revision != plan.revision
        assert fetch.content(await fetch.transfer(again)) == OTHER + b"\0" * 32


async def test_all_parts_of_a_split_model_are_fetched(server: str, files: Path, tmp_path: Path) -> None:
    parts = write_split(files / "split", "big")
    async with fetcher(tmp_path / "volume") as fetch:
        provided = await fetch.fetch(f"{server}/split/{parts[1].name}")
        assert [fetch.content(provided, index) for index in range(3)] == [part.read_bytes() for part in parts]
        plan = await fetch.resolve(f"{server}/split/{parts[0].name}")
        assert (plan.revision or "").startswith("sha256:")
        with pytest.raises(InvalidRef, match="models in one file"):
            await fetch.resolve(f"{server}/split/{parts[0].name}", digest=sha256(MODEL))
        parts[2].unlink()
        with pytest.raises(IncompleteModel, match="00003-of-00003"):
            await fetch.resolve(f"{server}/split/{parts[0].name}")


async def test_a_server_that_compresses_sends_the_file_as_it_is(server: str, tmp_path: Path) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server}/model.gguf")).headers["Content-Encoding"] == "gzip"
    async with fetcher(tmp_path / "volume") as fetch:
        assert fetch.content(await fetch.fetch(f"{server}/model.gguf")) == MODEL
