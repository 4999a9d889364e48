"""Plans for refs from the metadata of a real hub, and the error and advice for each refusal."""

import asyncio
import hashlib
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from model_provisioner.domain.errors import (
    AccessDenied,
    DigestMismatch,
    InvalidRef,
    LicenseNotAccepted,
    PathConflict,
    ProvisionError,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    TransferStalled,
    UnsupportedSource,
)
from model_provisioner.domain.network.addresses import NetworkPolicy, parse_host_port
from model_provisioner.domain.store.claim import StoreRef
from model_provisioner.domain.store.digest import Digest
from model_provisioner.transfer.http.client import NetworkSettings, open_client
from model_provisioner.transfer.sources import chosen, local
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.support.ggufs import write_split
from tests.support.models import put
from tests.transfer.bench import MODEL, NAME, REF, Bench, network, token_for

CONTENT = b"GGUF content of a model"
DIGEST = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


async def test_a_plan_pins_commit_size_and_digest(bench: Bench) -> None:
    commit = bench.hub.repository(NAME).add(f"sub folder/é {MODEL}", CONTENT)
    plan = await bench.resolve()
    (file,) = plan.files
    assert (plan.ref, plan.revision) == (REF, commit)
    assert (file.path, file.size) == (f"hf/{NAME}/sub folder/é {MODEL}", len(CONTENT))
    assert str(file.digest) == DIGEST
    assert file.url is not None
    assert urlsplit(file.url).path == f"/{NAME}/resolve/{commit}/sub%20folder/%C3%A9%20{MODEL}"
    assert file.source == f"{REF}:sub folder/é {MODEL}"


async def test_a_slash_at_the_end_of_the_endpoint_changes_nothing(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    request = Resolve("1", REF, f"{bench.hub.endpoint}/", None, None, None, store=StoreRef(str(bench.root), None))
    async with open_client(network(bench.hub)) as client:
        assert (await Resolver(client).resolve(request)).plan == await bench.resolve()


async def test_what_else_there_is_comes_with_it_the_nearest_in_size(bench: Bench, tmp_path: Path) -> None:
    repository = bench.hub.repository(NAME)
    for number in range(20):
        repository.add(f"model.{'abcdefghijklmnopqrst'[number]}.gguf", b"GGUF" + b"x" * 100 * number)
    repository.add(MODEL, b"GGUF" + b"x" * 1010)
    for part in write_split(tmp_path, "model.Q8_0", 2, size=2048):
        repository.add(part.name, part)
    repository.add("model.Q6_K-00001-of-00002.gguf", b"GGUF half")
    repository.add("mmproj-F16.gguf", b"GGUF" + b"x" * 1000)
    request = Resolve("1", REF, bench.hub.endpoint)
    async with open_client(network(bench.hub)) as client:
        found = (await Resolver(client).resolve(request)).alternatives
        request = Resolve("1", f"{REF}:model.t.gguf", bench.hub.endpoint)
        largest = (await Resolver(client).resolve(request)).alternatives
    assert [one.selector for one in found.nearest] == [f"model.{letter}.gguf" for letter in "fghijklmnopq"]
    assert [one.size for one in found.nearest] == [4 + 100 * number for number in range(5, 17)]
    assert found.more == 20 + 1 - 12
    assert {"Q4_K_M", "Q8_0"} & {one.selector for one in largest.nearest} == {"Q4_K_M"}


async def test_a_recorded_revision_counts_more_than_where_the_branch_points_now(bench: Bench) -> None:
    repository = bench.hub.repository(NAME)
    commit = repository.add(MODEL, CONTENT)
    repository.add(MODEL, b"GGUF newer")
    plan = await bench.resolve(revision=commit)
    assert (plan.revision, plan.files[0].size) == (commit, len(CONTENT))


async def test_a_branch_is_resolved_to_its_commit_and_kept_apart(bench: Bench) -> None:
    repository = bench.hub.repository(NAME)
    repository.branch("v2")
    commit = repository.add(MODEL, CONTENT, branch="v2")
    plan = await bench.resolve(f"hf:{NAME}@v2:Q4_K_M")
    assert (plan.revision, plan.files[0].path) == (commit, f"hf/{NAME}@v2/{MODEL}")


async def test_a_file_without_published_digest_has_none(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT, lfs=False)
    assert (await bench.resolve()).files[0].digest is None


async def test_the_digest_that_the_user_gives_counts_where_the_source_has_none(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT, lfs=False)
    assert (await bench.resolve(digest=DIGEST)).files[0].digest == Digest.parse(DIGEST)


async def test_a_digest_that_differs_from_the_sources_is_refused_at_once(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    other = f"sha256:{'0' * 64}"
    with pytest.raises(DigestMismatch) as caught:
        await bench.resolve(digest=other)
    assert DIGEST in caught.value.message
    assert other in caught.value.message


async def test_a_digest_for_a_split_model_is_refused(bench: Bench) -> None:
    repository = bench.hub.repository(NAME)
    for number in (1, 2):
        repository.add(f"model.Q4_K_M-0000{number}-of-00002.gguf", CONTENT)
    with pytest.raises(InvalidRef, match="leave the digest out"):
        await bench.resolve(digest=DIGEST)


async def test_a_file_name_that_leads_out_of_the_volume_is_refused(bench: Bench) -> None:
    bench.hub.repository(NAME).add(f"../../{MODEL}", CONTENT)
    with pytest.raises(UnsupportedSource, match="can't be stored"):
        await bench.resolve()


REFUSALS: list[tuple[dict[str, bool], str | None, type[ProvisionError], str]] = [
    ({"private": True}, None, SourceNotFound, "does not exist, or is private.*give a token"),
    ({"private": True}, "hf_known", SourceNotFound, "token's account may not see it"),
    ({"private": True}, "hf_wrong", AccessDenied, "does not accept the token"),
    ({"gated": True}, None, LicenseNotAccepted, rf"visit https://127\S+/{NAME}, accept the conditions, and give"),
    ({"gated": True}, "hf_known", LicenseNotAccepted, "was not granted access: visit"),
    ({"disabled": True}, None, AccessDenied, "disabled by the hub"),
]


@pytest.mark.parametrize(("kind", "token", "error", "message"), REFUSALS)
async def test_refusals_are_told_apart(
    bench: Bench, kind: dict[str, bool], token: str | None, error: type[ProvisionError], message: str
) -> None:
    bench.hub.repository(NAME, **kind).add(MODEL, CONTENT)  # type: ignore[arg-type]
    bench.hub.tokens.add("hf_known")
    with pytest.raises(error, match=message) as caught:
        await bench.resolve(credentials=token_for(bench.hub, token) if token else None)
    assert "hf_" not in caught.value.message


@pytest.mark.parametrize("kind", ["private", "gated"])
async def test_whoever_was_granted_access_gets_a_plan(bench: Bench, kind: str) -> None:
    bench.hub.repository(NAME, **{kind: True}).add(MODEL, CONTENT)  # type: ignore[arg-type]
    assert await bench.resolve(credentials=token_for(bench.hub, "hf_good"))


@pytest.mark.parametrize(
    ("ref", "message"),
    [
        ("hf:owner/nothing", "does not exist, or is private"),
        (f"hf:{NAME}@v9", "no such revision"),
        (f"hf:{NAME}:Q8_0", "Q8_0"),
        (f"hf:{NAME}:missing.gguf", "missing.gguf"),
    ],
)
async def test_what_is_not_there_is_told(bench: Bench, ref: str, message: str) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    with pytest.raises(SourceNotFound, match=message):
        await bench.resolve(ref)


async def test_a_token_of_another_origin_is_not_sent(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    elsewhere = token_for(bench.hub, "hf_good")
    await bench.resolve(credentials=type(elsewhere)("hf_good", (bench.hub.content_origin,)))
    assert not any(request.authorization for request in bench.hub.log)


async def test_a_token_in_the_environment_is_not_sent(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_environment")
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    await bench.resolve()
    assert not any(request.authorization for request in bench.hub.log)


async def test_a_hub_that_is_down_or_overloaded_is_not_a_missing_model(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    bench.hub.fail(503, where="api", headers={"Retry-After": "7"})
    with pytest.raises(SourceUnavailable, match="503") as unavailable:
        await bench.resolve()
    assert unavailable.value.retry_after == 7
    bench.hub.fail(429, where="api", headers={"RateLimit": '"api";r=0;t=42'})
    with pytest.raises(RateLimited) as limited:
        await bench.resolve()
    assert limited.value.retry_after == 42
    bench.hub.down()
    with pytest.raises(SourceUnavailable, match="no connection"):
        await bench.resolve()


async def test_many_refs_are_resolved_at_one_time(bench: Bench) -> None:
    """More requests than the default executor has threads, which resolve host names."""
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    endpoint = bench.hub.endpoint.replace("127.0.0.1", "localhost")
    requests = [Resolve(str(number), REF, endpoint, None, None, None, store=None) for number in range(100)]
    policy = NetworkPolicy(allowed_hosts=(parse_host_port("localhost"),))
    async with open_client(NetworkSettings(policy, bench.hub.ca_file)) as client, asyncio.timeout(60):
        resolver = Resolver(client)
        answers = await asyncio.gather(*(resolver.resolve(request) for request in requests))
    assert {answer.plan.files[0].size for answer in answers} == {len(CONTENT)}


@asynccontextmanager
async def silent_hub(said: bytes) -> AsyncIterator[str]:
    """The address of a hub that says `said` and nothing more."""
    patience = asyncio.Event()

    async def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await patience.wait()
        writer.close()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        patience.set()


async def test_a_hub_that_does_not_begin_to_answer_is_named(bench: Bench) -> None:
    settings = replace(network(bench.hub), response_timeout=0.3)
    async with silent_hub(b"") as endpoint, open_client(settings) as client:
        with pytest.raises(TransferStalled, match=rf"{endpoint} did not begin to answer within 0\.3 seconds"):
            await Resolver(client).resolve(Resolve("1", REF, endpoint, None, None, None, store=None))


async def test_all_answers_of_a_hub_together_have_a_deadline(bench: Bench) -> None:
    """The deadline is shorter than the response timeout here, and the first byte comes in time."""
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"
    async with open_client(network(bench.hub)) as client, silent_hub(begun) as endpoint:
        with pytest.raises(SourceUnavailable, match=r"did not tell what hf:owner/Model-GGUF is within 0\.3 sec"):
            await Resolver(client, 0.3).resolve(Resolve("1", REF, endpoint))


@pytest.mark.parametrize("ref", [REF, "local:mine.gguf"])
async def test_a_thread_that_does_not_end_does_not_hold_the_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    release = threading.Event()
    monkeypatch.setattr(chosen, "select", lambda *_: release.wait(60))
    monkeypatch.setattr(chosen, "_FEW_FILES", 0)
    monkeypatch.setattr(local, "plan", lambda *_: release.wait(60))
    request = Resolve("1", ref, bench.hub.endpoint, store=StoreRef(str(bench.root), None))
    async with open_client(network(bench.hub)) as client:
        resolver = Resolver(client, 0.5)
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(SourceUnavailable, match=r"did not tell what .* is within 0\.5 seconds"):
                await resolver.resolve(request)
        assert time.monotonic() - began < 45
    release.set()


async def test_redirects_pages_and_dripping_bodies_all_count_in_the_deadline(bench: Bench) -> None:
    page = b'HTTP/1.1 200 OK\r\nLink: </?cursor=%d>; rel="next"\r\nConnection: close\r\n\r\n[]'
    number = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal number
        number += 1
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        if b"/tree/" in head:
            writer.write(page % number)
        elif number == 1:
            writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nConnection: close\r\n\r\n")
        else:
            for byte in b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"sha": null}':
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.005)
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        open_client(network(bench.hub)) as client,
    ):
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(SourceUnavailable, match="within 4 seconds"):
            await Resolver(client, 4).resolve(Resolve("1", REF, endpoint))
    assert number > 2, "a redirect, a description and pages"


async def test_a_local_file_is_found_where_somebody_put_it(bench: Bench) -> None:
    put(bench.root, "local/sub/mine.gguf", CONTENT)
    plan = await bench.resolve("local:sub/mine.gguf")
    (file,) = plan.files
    assert (file.path, file.size, file.digest, file.url) == ("local/sub/mine.gguf", len(CONTENT), None, None)
    assert [path.name for path in bench.root.iterdir()] == ["local"], "to look writes nothing"


async def test_all_parts_of_a_local_split_model_are_found(bench: Bench) -> None:
    names = [f"local/mine-0000{number}-of-00002.gguf" for number in (1, 2)]
    for name in names:
        put(bench.root, name, CONTENT)
    assert [file.path for file in (await bench.resolve("local:mine-00001-of-00002.gguf")).files] == names


async def test_a_local_file_that_is_missing_says_where_to_put_it(bench: Bench) -> None:
    with pytest.raises(SourceNotFound, match=r"local/mine\.gguf is not on the volume: put the file there"):
        await bench.resolve("local:mine.gguf")


async def test_a_local_link_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    secret = put(tmp_path, "elsewhere/secret.gguf", CONTENT)
    (bench.root / "local").mkdir()
    (bench.root / "local" / "mine.gguf").symlink_to(secret)
    with pytest.raises(PathConflict):
        await bench.resolve("local:mine.gguf")
    (bench.root / "local" / "sub").symlink_to(secret.parent)
    with pytest.raises(PathConflict, match="local/sub is a symbolic link"):
        await bench.resolve("local:sub/secret.gguf")
