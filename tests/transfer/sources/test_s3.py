"""Models in buckets, from real servers (moto, versitygw): what pins one, its digest, selection, and who may read it."""

import base64
import hashlib
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AmbiguousModel,
    DigestMismatch,
    IncompleteModel,
    NotGGUF,
    SourceNotFound,
    SourceUnavailable,
)
from model_provisioner.domain.store.plan import Pin, Plan
from model_provisioner.transfer.sources.resolver import Resolver
from model_provisioner.worker_protocol.messages import Resolve
from tests.support import buckets
from tests.support.buckets import KEYS, Server
from tests.support.ggufs import tiny_adapter, tiny_gguf, tiny_projector, write_split
from tests.transfer.sources.web import Fetcher, fetcher, sha256

pytestmark = pytest.mark.xdist_group("s3")  # one process makes what all of them use

MODEL = tiny_gguf(size=3 * 1024 * 1024)
OTHER = tiny_gguf(size=3 * 1024 * 1024, seed=1)
ENCODED = base64.b64encode(hashlib.sha256(MODEL).digest()).decode()
ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@pytest.fixture(scope="module", params=["moto", "versity"])
def any_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = buckets.moto() if request.param == "moto" else buckets.versity(tmp_path_factory.mktemp("versity"))
    with running as server:
        yield server


@pytest.fixture
def bucket(any_server: Server, request: pytest.FixtureRequest) -> str:
    name = f"b-{hashlib.sha256(request.node.name.encode()).hexdigest()[:20]}"
    any_server.put(name)
    return name


@pytest.fixture
async def fetch(tmp_path: Path) -> AsyncIterator[Fetcher]:
    async with fetcher(tmp_path / "volume") as made:
        yield made


def credentials(server: Server, keys: AwsKeys = KEYS) -> Credentials:
    return Credentials(None, (server.url,), aws=keys)


async def resolve(
    fetch: Fetcher,
    server: Server,
    ref: str,
    keys: AwsKeys | None = KEYS,
    revision: str | None = None,
    digest: str | None = None,
    *,
    projector: bool = False,
) -> Plan:
    mine = credentials(server, keys) if keys else None
    request = Resolve("1", ref, server.url, revision, digest, mine, projector=projector)
    return (await Resolver(fetch.client).resolve(request)).plan


async def test_an_object_is_fetched_over_a_signed_address(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    any_server.put(f"{bucket}/team a/modèl+1.gguf", MODEL)
    plan = await resolve(fetch, any_server, f"s3://{bucket}/team a/modèl+1.gguf")
    (file,) = plan.files
    port = any_server.url.rpartition(":")[2]
    assert file.path == f"s3/127.0.0.1+{port}/{bucket}/team a/modèl+1.gguf"
    assert (file.size, file.url, file.signed) == (len(MODEL), None, True)
    assert file.pin == Pin("If-Match", plan.revision or "")
    assert KEYS.secret not in repr(plan)
    assert "Signature" not in repr(plan)
    provided = await fetch.transfer(plan, credentials(any_server), connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.files[0].digest == sha256(MODEL)
    assert provided.received == len(MODEL)


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-sha256": ENCODED, "x-amz-sdk-checksum-algorithm": "SHA256"},
        {"x-amz-meta-sha256": hashlib.sha256(MODEL).hexdigest()},
    ],
    ids=["checksum", "metadata"],
)
async def test_the_digest_that_is_stated_is_the_expected_one(
    any_server: Server, bucket: str, fetch: Fetcher, headers: dict[str, str]
) -> None:
    any_server.put(f"{bucket}/model.gguf", MODEL, headers)
    plan = await resolve(fetch, any_server, f"s3://{bucket}/model.gguf")
    assert (str(plan.files[0].digest), plan.files[0].digest_published) == (sha256(MODEL), True)
    with pytest.raises(DigestMismatch, match="correct the digest"):
        await resolve(fetch, any_server, f"s3://{bucket}/model.gguf", digest=sha256(OTHER))


async def test_the_checksum_of_an_upload_in_parts_is_no_digest(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    """moto states it without the number of parts. Neither server tells the parts, so the digest is only computed."""
    large = tiny_gguf(size=5 * 1024 * 1024 + 1000)
    any_server.upload(f"{bucket}/model.gguf", [large[: 5 * 1024 * 1024], large[5 * 1024 * 1024 :]])
    plan = await resolve(fetch, any_server, f"s3://{bucket}/model.gguf")
    assert (plan.files[0].digest, plan.files[0].upload_parts) == (None, None)
    provided = await fetch.transfer(plan, credentials(any_server))
    assert provided.files[0].digest == sha256(large)


async def test_metadata_that_is_no_digest_is_not_taken_for_one(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    any_server.put(f"{bucket}/model.gguf", MODEL, {"x-amz-meta-sha256": "unknown"})
    assert (await resolve(fetch, any_server, f"s3://{bucket}/model.gguf")).files[0].digest is None


async def test_an_object_that_changes_is_fetched_anew(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    ref = f"s3://{bucket}/model.gguf"
    any_server.put(f"{bucket}/model.gguf", MODEL)
    plan = await resolve(fetch, any_server, ref)
    any_server.put(f"{bucket}/model.gguf", OTHER)
    with pytest.raises(SourceUnavailable, match="has changed at its source"):
        await fetch.transfer(plan, credentials(any_server))
    again = await resolve(fetch, any_server, ref, revision=plan.revision)
    assert again.revision != plan.revision
    assert again.files[0].part_key != plan.files[0].part_key
    assert fetch.content(await fetch.transfer(again, credentials(any_server))) == OTHER


async def test_a_version_is_pinned_and_read_after_it_was_overwritten(
    any_server: Server, bucket: str, fetch: Fetcher
) -> None:
    ref = f"s3://{bucket}/model.gguf"
    any_server.put(bucket, ENABLED, query="versioning")
    version = any_server.put(f"{bucket}/model.gguf", MODEL).headers["x-amz-version-id"]
    plan = await resolve(fetch, any_server, ref)
    assert plan.revision == version
    newest = any_server.put(f"{bucket}/model.gguf", OTHER).headers["x-amz-version-id"]
    assert fetch.content(await fetch.transfer(plan, credentials(any_server))) == MODEL
    assert (await resolve(fetch, any_server, ref, revision=version)).files[0] == plan.files[0]
    assert (await resolve(fetch, any_server, ref)).revision == newest
    assert (await resolve(fetch, any_server, ref, revision="0" * 32)).revision == newest


async def test_a_quantisation_is_chosen_below_a_prefix(
    any_server: Server, bucket: str, fetch: Fetcher, tmp_path: Path
) -> None:
    for name in ("m.Q4_K_M.gguf", "m.Q8_0.gguf", "README.md", "deep/m.F16.gguf"):
        any_server.put(f"{bucket}/team/{name}", MODEL)
    parts = write_split(tmp_path, "big.Q2_K")
    for part in parts:
        any_server.put(f"{bucket}/team/{part.name}", part.read_bytes())
    any_server.put(f"{bucket}/teams/m.Q4_K_M.gguf", OTHER)
    ref = f"s3://{bucket}/team/"
    chosen = {
        name: [file.path.rpartition(f"{bucket}/")[2] for file in (await resolve(fetch, any_server, name)).files]
        for name in (ref, f"{ref}:Q8_0", f"{ref}:F16", f"{ref}:Q2_K")
    }
    assert chosen == {
        ref: ["team/m.Q4_K_M.gguf"],
        f"{ref}:Q8_0": ["team/m.Q8_0.gguf"],
        f"{ref}:F16": ["team/deep/m.F16.gguf"],
        f"{ref}:Q2_K": [f"team/{part.name}" for part in parts],
    }
    split = await resolve(fetch, any_server, f"{ref}:Q2_K")
    assert (split.revision or "").startswith("sha256:")
    provided = await fetch.transfer(split, credentials(any_server))
    assert [fetch.content(provided, index) for index in range(3)] == [part.read_bytes() for part in parts]
    with pytest.raises(SourceNotFound, match=f"Q5_K is not in s3://{bucket}/team/, which has"):
        await resolve(fetch, any_server, f"{ref}:Q5_K")
    with pytest.raises(SourceNotFound, match="has no GGUF file"):
        await resolve(fetch, any_server, f"s3://{bucket}/elsewhere/")


async def test_an_ambiguous_prefix_is_told_a_key_that_can_be_written(
    any_server: Server, bucket: str, fetch: Fetcher
) -> None:
    for name in ("a.Q4_K_M.gguf", "b.Q4_K_M.gguf"):
        any_server.put(f"{bucket}/team/{name}", MODEL)
    with pytest.raises(AmbiguousModel) as caught:
        await resolve(fetch, any_server, f"s3://{bucket}/team/")
    key = caught.value.message.rpartition("its key, as in ")[2].replace("'", "")
    assert (await resolve(fetch, any_server, key)).ref == f"s3://{bucket}/team/a.Q4_K_M.gguf"


async def test_the_projector_below_a_prefix_is_a_file_of_the_plan(
    any_server: Server, bucket: str, fetch: Fetcher
) -> None:
    for name, content in {"x-Q4_K_M.gguf": MODEL, "x-Q8_0.gguf": OTHER, "mmproj-F16.gguf": tiny_projector()}.items():
        any_server.put(f"{bucket}/team/{name}", content)
    plan = await resolve(fetch, any_server, f"s3://{bucket}/team/:Q8_0", projector=True)
    assert [file.path.rpartition("/")[2] for file in plan.files] == ["x-Q8_0.gguf", "mmproj-F16.gguf"]
    assert plan.projector == plan.files[1]
    provided = await fetch.transfer(plan, credentials(any_server))
    assert [fetch.content(provided, index) for index in (0, 1)] == [OTHER, tiny_projector()]
    any_server.put(f"{bucket}/team/mmproj-x-F16.gguf", tiny_projector())
    with pytest.raises(AmbiguousModel, match=rf"one of them by its key .*, as in s3://{bucket}/team/mmproj"):
        await resolve(fetch, any_server, f"s3://{bucket}/team/", projector=True)
    any_server.put(f"{bucket}/text/x.gguf", MODEL)
    with pytest.raises(SourceNotFound, match=rf"s3://{bucket}/text/ has no multimodal projector"):
        await resolve(fetch, any_server, f"s3://{bucket}/text/", projector=True)


async def test_an_adapter_is_fetched_by_its_key_and_only_so(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    any_server.put(f"{bucket}/lora/adapter.gguf", tiny_adapter())
    with pytest.raises(NotGGUF, match=r"adapter\.gguf: an adapter \(LoRA\), not a model"):
        await fetch.transfer(await resolve(fetch, any_server, f"s3://{bucket}/lora/"), credentials(any_server))
    provided = await fetch.transfer(
        await resolve(fetch, any_server, f"s3://{bucket}/lora/adapter.gguf"), credentials(any_server)
    )
    assert fetch.content(provided) == tiny_adapter()


async def test_a_part_that_is_missing_is_named(any_server: Server, bucket: str, fetch: Fetcher, tmp_path: Path) -> None:
    first, *_ = write_split(tmp_path, "big")
    any_server.put(f"{bucket}/{first.name}", first.read_bytes())
    with pytest.raises(IncompleteModel, match=r"0000[23]-of-00003.*is not there"):
        await resolve(fetch, any_server, f"s3://{bucket}/{first.name}")


async def test_what_is_missing_is_told_apart(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    with pytest.raises(SourceNotFound, match="check the key"):
        await resolve(fetch, any_server, f"s3://{bucket}/missing.gguf")
    with pytest.raises(SourceNotFound, match="has no bucket no-such-bucket"):
        await resolve(fetch, any_server, "s3://no-such-bucket/missing.gguf")
    with pytest.raises(SourceNotFound, match="has no bucket no-such-bucket"):
        await resolve(fetch, any_server, "s3://no-such-bucket/p/")
    any_server.put(f"{bucket}/empty.gguf", b"")
    with pytest.raises(NotGGUF, match="is empty"):
        await resolve(fetch, any_server, f"s3://{bucket}/empty.gguf")


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[Server]:
    """A server that checks signatures, in another region than the default one."""
    with buckets.versity(tmp_path, "eu-north-1") as server:
        server.put("private")
        server.put("private/model.gguf", MODEL)
        yield server


WRONG = [
    (None, "without an access key"),
    (AwsKeys("AKIDUNKNOWN", KEYS.secret), "does not know the access key"),
    (AwsKeys(KEYS.key_id, "canary-of-another-key"), "does not accept the signature"),
]


@pytest.mark.parametrize("path", ["model.gguf", "p/"])
@pytest.mark.parametrize(("keys", "says"), WRONG, ids=["none", "unknown", "wrong"])
async def test_a_wrong_key_is_told_apart(
    strict: Server, fetch: Fetcher, keys: AwsKeys | None, says: str, path: str
) -> None:
    with pytest.raises(AccessDenied, match=says) as caught:
        await resolve(fetch, strict, f"s3://private/{path}", keys)
    assert "canary" not in caught.value.message
    assert "Signature=" not in caught.value.message


async def test_the_region_is_found(strict: Server, fetch: Fetcher) -> None:
    plan = await resolve(fetch, strict, "s3://private/model.gguf")
    assert fetch.content(await fetch.transfer(plan, credentials(strict))) == MODEL


async def test_a_key_goes_to_its_own_endpoint_only(strict: Server, fetch: Fetcher) -> None:
    elsewhere = Credentials(None, ("https://s3.amazonaws.com",), aws=KEYS)
    with pytest.raises(AccessDenied, match="without an access key"):
        await Resolver(fetch.client).resolve(Resolve("1", "s3://private/model.gguf", strict.url, None, None, elsewhere))


async def test_a_public_bucket_needs_no_signature(any_server: Server, bucket: str, fetch: Fetcher) -> None:
    any_server.publish(bucket, {"model.gguf": MODEL})
    plan = await resolve(fetch, any_server, f"s3://{bucket}/model.gguf", None)
    assert (plan.files[0].url, plan.files[0].signed) == (f"{any_server.url}/{bucket}/model.gguf", False)
    assert fetch.content(await fetch.transfer(plan)) == MODEL
    (below,) = (await resolve(fetch, any_server, f"s3://{bucket}/", None)).files
    assert (below.url, below.path, below.pin) == (plan.files[0].url, plan.files[0].path, plan.files[0].pin)


async def test_clocks_that_differ_are_told(strict: Server, fetch: Fetcher, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 3600)
    with pytest.raises(SourceUnavailable, match="its clock and that of this machine differ"):
        await resolve(fetch, strict, "s3://private/model.gguf")
