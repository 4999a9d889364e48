"""Generated answers of a hub: any bytes and any JSON are a value or a named error, in bounded time."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from model_provisioner.domain.errors import ProvisionError
from model_provisioner.domain.network.addresses import HostPort, NetworkPolicy
from model_provisioner.transfer.clients.bodies import Malformed, TooLarge
from model_provisioner.transfer.clients.hubs.hub_answers import (
    MAX_FILES,
    MAX_SIZE,
    RemoteFile,
    next_query,
    parse_file_headers,
    parse_model_info,
    parse_tree,
)
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.support.cost import traced_peak
from tests.transfer.bench import MODEL, NAME, REF

LATIN = st.text(st.characters(max_codepoint=255))
VALUES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["*" * 64, "a" * 64, MODEL])
)
KEYS = st.sampled_from(["id", "sha", "gated", "siblings", "rfilename", "path", "type", "size", "lfs", "sha256", "oid"])
JSON = st.recursive(VALUES, lambda inner: st.lists(inner) | st.dictionaries(KEYS | st.text(), inner), max_leaves=20)
LFS = st.fixed_dictionaries({}, optional={"sha256": VALUES, "oid": VALUES, "size": VALUES}) | VALUES
FILE = st.fixed_dictionaries(
    {}, optional={"rfilename": VALUES, "path": VALUES, "type": VALUES, "size": VALUES, "lfs": LFS}
)
INFO = st.fixed_dictionaries(
    {}, optional={"id": VALUES, "sha": VALUES, "gated": VALUES, "siblings": st.lists(FILE | VALUES) | VALUES}
)
BODIES = st.binary() | (JSON | INFO | st.lists(FILE)).map(lambda value: json.dumps(value).encode())
HEADERS = st.dictionaries(
    st.sampled_from(["X-Linked-Size", "X-Linked-ETag", "X-Repo-Commit", "Content-Length", "Content-Range", "ETag"]),
    LATIN | st.integers().map(str) | st.sampled_from(["a" * 64, "c" * 40, '"' + "a" * 64 + '"', "bytes 0-0/5"]),
)
LINKS = LATIN | st.lists(
    st.sampled_from(["<", ">", ";", ",", '"', "rel", "=", "next", " ", "?cursor=1", "https://[::1", "\xff"])
).map("".join)


T = TypeVar("T")


def read(parse: Callable[[Any], T], answer: object) -> T | None:
    """What `parse` makes of `answer`; None if it is Malformed or TooLarge, in words for a message."""
    try:
        return parse(answer)
    except (Malformed, TooLarge) as error:
        said = str(error)
    assert said.isprintable()
    assert len(said) < 200
    return None


def are_valid(files: tuple[RemoteFile, ...] | None) -> bool:
    return all(
        len(file.path.encode()) <= 1024 and (file.size is None or 0 <= file.size <= MAX_SIZE) for file in files or ()
    )


@given(BODIES)
def test_any_description_is_a_value_or_malformed(body: bytes) -> None:
    found = read(parse_model_info, body)
    assert found is None or (are_valid(found.files) and len(found.commit or "c" * 40) in range(40, 65))


@given(BODIES)
def test_any_page_of_a_tree_is_a_value_or_malformed(body: bytes) -> None:
    assert are_valid(read(parse_tree, body))


@given(st.lists(st.tuples(st.integers(100, 599), HEADERS), min_size=1))
def test_any_headers_of_a_file_are_a_value_or_malformed(replies: list[tuple[int, dict[str, str]]]) -> None:
    found = read(parse_file_headers, replies)
    assert found is None or found.size is None or 0 <= found.size <= MAX_SIZE


@given(LINKS)
def test_any_link_is_a_query_or_malformed(link: str) -> None:
    query = read(next_query, link)
    assert query is None or (query.isascii() and " " not in query)


@pytest.mark.parametrize(
    ("parse", "answer"),
    [
        (parse_model_info, lambda: b'{"siblings":[' + b",".join([b'{"rfilename":""}'] * 1_900_000) + b"]}"),
        (parse_model_info, lambda: b'{"id":' + b"[" * 30_000_000),
        (parse_tree, lambda: b'[{"path":"' + b"x" * 30_000_000 + b'"}]'),
        (parse_model_info, lambda: b'{"sha":' + b"9" * 30_000_000 + b"}"),
        (next_query, lambda: "<" * 100_000),
        (next_query, lambda: "<a>;" * 25_000),
        (next_query, lambda: "<a>" + "; rel " * 16_000),
    ],
    ids=["many files", "nested", "a long path", "a long number", "one link", "many links", "many parameters"],
)
def test_the_longest_answer_is_judged_in_seconds(parse: Callable[[Any], object], answer: Callable[[], object]) -> None:
    long, began = answer(), time.process_time()
    read(parse, long)
    assert time.process_time() - began < 10


def test_a_list_may_be_as_long_as_said() -> None:
    body = b"[" + b",".join([b'{"path":"a"}'] * MAX_FILES) + b"]"
    assert len(parse_tree(body)) == MAX_FILES
    with pytest.raises(TooLarge, match="more than 20,000 files"):
        parse_tree(b'[{"path":"a"},' + body[1:])


def test_a_list_that_is_too_long_takes_no_memory_for_its_entries() -> None:
    body = b'{"siblings":[' + b",".join([b'{"rfilename":"a"}'] * 400_000) + b"]}"
    with traced_peak() as peak, pytest.raises(TooLarge):
        parse_model_info(body)
    assert peak() < 1024**2


@pytest.mark.parametrize("name", ["x" * 1025, "é" * 513, "\U0001f600" * 257])
def test_a_name_of_more_than_a_kibibyte_is_malformed(name: str) -> None:
    for parse, entry in ((parse_tree, [{"path": name}]), (parse_model_info, {"siblings": [{"rfilename": name}]})):
        with pytest.raises(Malformed):
            parse(json.dumps(entry, ensure_ascii=False).encode())
        short = json.dumps(entry, ensure_ascii=False).replace(name, name[:-1]).encode()
        parse(short)


@pytest.mark.parametrize("size", [-5, 1.5, True, 2**46 + 1, 2**63, 2**64, 10**400, "1", None, [], {}])
@pytest.mark.parametrize("parse", [parse_tree, parse_model_info])
def test_a_size_is_a_natural_number_of_at_most_64_tebibytes(parse: Callable[[bytes], object], size: object) -> None:
    entry = {"path": "a", "rfilename": "a", "size": size}
    body = json.dumps([entry] if parse is parse_tree else {"siblings": [entry]}).encode()
    if size is None:
        parse(body)
    else:
        with pytest.raises(Malformed):
            parse(body)


@pytest.mark.parametrize("sha", [12345, True, 1.5, [], {}, "", "main", "C" * 40, "c" * 39, "c" * 65, "c" * 300])
def test_a_commit_is_a_text_of_hexadecimal_digits(sha: object) -> None:
    with pytest.raises(Malformed):
        parse_model_info(json.dumps({"sha": sha}).encode())


# The whole way, from bytes on a socket to a plan.

DESCRIPTION = json.dumps({"id": NAME, "sha": "c" * 40, "gated": "auto", "siblings": [{"rfilename": MODEL}]}).encode()
LINES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *("Location", "Link", "Content-Type", "Content-Encoding", "Content-Length", "Transfer-Encoding"),
                *("X-Linked-Size", "X-Linked-ETag", "X-Repo-Commit", "X-Error-Code", "X-Error-Message"),
                *("RateLimit", "Retry-After", "WWW-Authenticate", "ETag", "Content-Range"),
            ]
        ),
        st.binary(max_size=40)
        | st.sampled_from([b"/", b"https://[::1", b"gzip", b"23", b"text/html", b"chunked", b'<?c>; rel="next"']),
    ),
    max_size=5,
)
STATUSES = st.sampled_from([200, 204, 206, 301, 302, 304, 401, 403, 404, 405, 416, 429, 500]).map(
    lambda status: f"{status} x".encode()
) | st.binary(max_size=10)
ANSWERS = st.tuples(STATUSES, LINES, BODIES | st.just(DESCRIPTION))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ANSWERS, min_size=1, max_size=6))
@example([(b"abc", [], b"")])
@example([(b"200 OK", [], DESCRIPTION), (b"", [], b"")])
@example([(b"302 Found", [("Location", b"/\xff \x01")], b"")])
@example([(b"302 Found", [("Location", b"https://[::1")], b"")])
@example([(b"200 OK", [], DESCRIPTION), (b"200 OK", [("Link", b'</?a>; rel="next"')], b"[]")])
def test_any_bytes_of_a_hub_end_in_a_plan_or_a_named_error(
    answers: list[tuple[bytes, list[tuple[str, bytes]], bytes]],
) -> None:
    lines = [
        b"".join([b"HTTP/1.1 ", status, b"\r\n", *(b"%s: %s\r\n" % (name.encode(), value) for name, value in headers)])
        + b"Connection: close\r\n\r\n"
        + body
        for status, headers, body in answers
    ]
    error = asyncio.run(resolve_from(lines))
    assert error is None or type(error) is not ProvisionError
    assert error is None or error.message.isprintable()


async def resolve_from(answers: list[bytes]) -> ProvisionError | None:
    """The error of a ref at a hub that sends `answers` in turn, each on a connection of its own; the last for ever."""
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(left.pop(0) if len(left) > 1 else left[0])
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    allowed = NetworkSettings(NetworkPolicy(allowed_hosts=(HostPort("127.0.0.1"),)))
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, open_client(allowed) as client:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            async with asyncio.timeout(60):
                await Resolver(client).resolve(Resolve("1", REF, endpoint))
        except ProvisionError as error:
            return error
    return None
