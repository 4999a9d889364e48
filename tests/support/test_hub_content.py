"""Ranges, signed URLs and refusals of the content host, with `http.client`, which adds no logic of its own."""

import hashlib
import http.client
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub

MODEL = "folder/tiny.Q4_K_M.gguf"
RESOLVE = f"/owner/repo/resolve/main/{MODEL}"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Message
    body: bytes


def call(hub: Hub, url: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> Answer:
    """The answer to one request on a new connection; redirects are not followed."""
    parts = urlsplit(url)
    context = ssl.create_default_context(cafile=hub.ca_file)
    connection = http.client.HTTPSConnection(parts.netloc, context=context, timeout=10)
    try:
        connection.request(method, url.removeprefix(f"https://{parts.netloc}"), headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, response.headers, response.read())
    finally:
        connection.close()


@pytest.fixture(scope="module")
def content() -> bytes:
    return tiny_gguf()


@pytest.fixture(params=["bytes", "file"])
def hub(request: pytest.FixtureRequest, tmp_path: Path, content: bytes) -> Iterator[Hub]:
    file = tmp_path / "model"
    file.write_bytes(content)
    with Hub() as hub:
        hub.repository("owner/repo").add(MODEL, file if request.param == "file" else content)
        yield hub


def signed(hub: Hub) -> str:
    return str(call(hub, hub.endpoint + RESOLVE).headers["Location"])


def test_resolve_tells_everything_on_the_redirect(hub: Hub, content: bytes) -> None:
    answer = call(hub, hub.endpoint + RESOLVE, method="HEAD")
    assert answer.status == 302
    assert answer.headers["Location"].startswith(f"{hub.content_origin}/")
    assert "Expires=" in answer.headers["Location"]
    assert answer.headers["X-Linked-Size"] == str(len(content))
    assert answer.headers["X-Linked-ETag"] == f'"{hashlib.sha256(content).hexdigest()}"'
    assert len(answer.headers["X-Repo-Commit"]) == 40
    assert 500 < int(answer.headers["Content-Length"]) < 1500, "the length of the redirect, not of the file"
    assert hub.content_origin != hub.endpoint


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=0-9999999", 0, None),
        ("bytes=100-199", 100, 199),
        ("bytes=70000-", 70_000, None),
        ("bytes=-10", -10, None),
    ],
)
def test_a_range_is_answered_exactly(hub: Hub, content: bytes, asked: str, first: int, last: int | None) -> None:
    answer = call(hub, signed(hub), {"Range": asked})
    start = first % len(content)
    end = len(content) - 1 if last is None else last
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{end}/{len(content)}"
    assert answer.body == content[start : end + 1]
    assert hub.log[-1].range == (start, end)
    assert hub.bytes_sent(MODEL) == len(answer.body)


def test_a_range_beyond_the_end_is_416_with_the_size(hub: Hub, content: bytes) -> None:
    answer = call(hub, signed(hub), {"Range": f"bytes={len(content)}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(content)}")


def test_the_etag_is_not_the_digest_and_guards_if_range(hub: Hub, content: bytes) -> None:
    url = signed(hub)
    whole = call(hub, url, method="HEAD")
    assert (whole.status, whole.headers["Content-Length"], whole.body) == (200, str(len(content)), b"")
    etag = whole.headers["ETag"]
    assert hashlib.sha256(content).hexdigest() not in etag
    assert call(hub, url, {"Range": "bytes=0-9", "If-Range": etag}).status == 206
    assert call(hub, url, {"Range": "bytes=0-9", "If-Range": '"other"'}).status == 200


def test_a_leaked_token_is_refused(hub: Hub) -> None:
    answer = call(hub, signed(hub), {"Authorization": "Bearer hf_good"})
    assert answer.status == 400
    assert b"<Error>" in answer.body
    assert hub.log[-1].authorization
    assert hub.bytes_sent() == 0


def test_an_address_without_its_signature_is_forged(hub: Hub) -> None:
    url = signed(hub)
    altered = [url.partition("?")[0], url.replace("Expires=", "Expires=9"), url.replace("owner/repo", "owner/other")]
    for wrong in altered:
        answer = call(hub, wrong)
        assert (answer.status, answer.headers.get_content_type()) == (403, "application/xml")
        assert b"SignatureDoesNotMatch" in answer.body


def test_addresses_expire(hub: Hub) -> None:
    hub.signed_url_seconds = 0
    assert b"Request has expired" in call(hub, signed(hub)).body
    hub.signed_url_seconds = 3600
    url = signed(hub)
    assert call(hub, url).status == 200
    hub.expire_signed_urls()
    assert call(hub, url).status == 403
    assert call(hub, signed(hub)).status == 200


def test_an_old_address_serves_the_old_bytes(hub: Hub, content: bytes) -> None:
    url = signed(hub)
    hub.repository("owner/repo2").add(MODEL, b"GGUF other")
    assert call(hub, url).body == content


def test_every_answer_carries_the_rate_limit_of_its_bucket(hub: Hub) -> None:
    assert '"resolvers"' in call(hub, hub.endpoint + RESOLVE).headers["RateLimit"]
    assert '"api"' in call(hub, f"{hub.endpoint}/api/models/owner/repo").headers["RateLimit"]


def test_the_hub_can_speak_plain_http(content: bytes) -> None:
    with Hub(tls=False) as hub:
        hub.repository("owner/repo").add(MODEL, content)
        connection = http.client.HTTPConnection(hub.host_port, timeout=10)
        connection.request("GET", RESOLVE)
        assert connection.getresponse().headers["Location"].startswith("http://127.0.0.1:")
        connection.close()
