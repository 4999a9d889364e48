"""Models on ModelScope: which commit, which files although listings are cut off, who may read them, and their bytes."""

import pytest

from model_provisioner.domain.errors import (
    AccessDenied,
    AmbiguousModel,
    DigestMismatch,
    IncompleteModel,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from tests.support.ggufs import tiny_adapter, tiny_gguf, tiny_projector
from tests.support.hub import Repository
from tests.transfer.bench import MODEL, NAME, Bench, sha256, token_for

REF = f"modelscope:{NAME}"
CONTENT = tiny_gguf(size=3 * 1024 * 1024)
LISTING = "/repo/files"


@pytest.fixture
def repository(bench: Bench) -> Repository:
    repository = bench.hub.repository(NAME)
    repository.add("README.md", b"# A model")
    repository.add(MODEL, CONTENT)
    return repository


def requests(bench: Bench, ending: str) -> int:
    return len([request for request in bench.hub.log if request.path.endswith(ending)])


async def test_a_model_is_resolved_at_its_commit_and_fetched_in_ranges(bench: Bench, repository: Repository) -> None:
    plan = await bench.resolve(REF)
    (file,) = plan.files
    assert (plan.ref, plan.revision, plan.repository) == (REF, repository.commit, NAME)
    assert (file.path, file.size, str(file.digest)) == (f"modelscope/{NAME}/{MODEL}", len(CONTENT), sha256(CONTENT))
    assert file.digest_published
    assert bench.hub.bytes_sent() == 0
    provided = await bench.transfer(plan, connections=4)
    assert bench.content(provided) == CONTENT
    assert {request.status for request in bench.hub.log if request.origin == "content"} == {206}
    assert bench.hub.bytes_sent() == len(CONTENT)


async def test_the_selection_is_that_of_a_hugging_face_repository(bench: Bench, repository: Repository) -> None:
    for path in ("model.Q8_0.gguf", "big/m.Q5_K_M-00001-of-00002.gguf", "big/m.Q5_K_M-00002-of-00002.gguf"):
        repository.add(path, path.encode())
    repository.add("odd/é+#% &.gguf", b"GGUF odd")
    repository.add("part/m-00001-of-00002.gguf", b"GGUF part")
    for selector in ("", ":Q8_0", ":big/", ":odd/é+#% &.gguf"):
        theirs, ours = await bench.resolve(f"hf:{NAME}{selector}"), await bench.resolve(f"{REF}{selector}")
        assert [file.path.removeprefix("hf/") for file in theirs.files] == [
            file.path.removeprefix("modelscope/") for file in ours.files
        ]
    with pytest.raises(IncompleteModel):
        await bench.resolve(f"{REF}:part/")
    with pytest.raises(SourceNotFound, match=r"name one of these"):
        await bench.resolve(f"{REF}:Q2_K")
    repository.add("other.Q8_0.gguf", b"GGUF")
    with pytest.raises(AmbiguousModel):
        await bench.resolve(f"{REF}:Q8_0")
    answer = await bench.answer(REF)
    assert "Q5_K_M" in {one.selector for one in answer.alternatives.nearest}


async def test_a_file_that_ignores_ranges_is_read_in_one_stream(bench: Bench, repository: Repository) -> None:
    repository.add("plain.gguf", CONTENT, lfs=False)
    provided = await bench.transfer(await bench.resolve(f"{REF}:plain.gguf"), connections=4)
    assert bench.content(provided) == CONTENT
    served = [request for request in bench.hub.log if request.path.endswith("/repo") and request.bytes_sent]
    assert {request.status for request in served} == {200}


async def test_an_address_that_expires_costs_no_byte_twice(bench: Bench, repository: Repository) -> None:
    large = tiny_gguf(size=40 * 1024 * 1024)
    repository.add("large.gguf", large)
    plan = await bench.resolve(f"{REF}:large.gguf")
    bench.hub.fail(403, times=2, path="large.gguf")
    provided = await bench.transfer(plan, connections=2)
    assert bench.content(provided) == large
    assert provided.received == len(large)


# Revisions.


async def test_a_revision_is_pinned_to_its_commit(bench: Bench, repository: Repository) -> None:
    old = repository.tag("v1")
    repository.branch("dev/a")
    new = repository.add(MODEL, tiny_gguf(seed=1))
    for revision, commit in (("v1", old), ("dev/a", old), ("master", new), (old, old), (old[:8], old)):
        plan = await bench.resolve(f"{REF}@{revision}")
        assert plan.revision == commit
        assert str(plan.files[0].digest) == (sha256(CONTENT) if commit == old else sha256(tiny_gguf(seed=1)))
    again = await bench.resolve(REF, revision=old)
    assert again.revision == old, "an earlier resolution is kept"
    assert (await bench.resolve(REF)).files[0].path == f"modelscope/{NAME}/{MODEL}"
    assert (await bench.resolve(f"{REF}@v1")).files[0].path == f"modelscope/{NAME}@v1/{MODEL}"


async def test_a_revision_that_does_not_exist_is_named(bench: Bench, repository: Repository) -> None:
    with pytest.raises(SourceNotFound, match=r"check the spelling and the revision"):
        await bench.resolve(f"{REF}@v9")
    with pytest.raises(SourceNotFound):
        await bench.resolve(f"{REF}@{'c' * 40}")
    bench.hub.modelscope.ignores_ref = True
    with pytest.raises(SourceNotFound, match=r"no such revision.*@master"):
        await bench.resolve(f"{REF}@v9")


async def test_an_answer_that_is_of_another_revision_is_not_taken(bench: Bench, repository: Repository) -> None:
    repository.tag("v1")
    repository.add(MODEL, tiny_gguf(seed=1))
    bench.hub.modelscope.ignores_ref = True
    with pytest.raises(SourceUnavailable, match=r"names two commits when asked for .*: name the commit"):
        await bench.resolve(f"{REF}@v1")
    bench.hub.modelscope.serves_git = False
    with pytest.raises(
        SourceUnavailable, match=r"answers with the commit of master when asked for .*: name the commit"
    ):
        await bench.resolve(f"{REF}@v1")
    bench.hub.modelscope.ignores_ref = False
    assert (await bench.resolve(f"{REF}@v1")).revision == repository.tags["v1"], "it is another one than master's"


# Listings that are cut off.


def many(directory: str, number: int) -> dict[str, bytes]:
    return {f"{directory}{index:05}.txt": b"x" for index in range(number)}


async def test_a_listing_that_is_cut_off_is_walked(bench: Bench, repository: Repository) -> None:
    files = {**many("a/x/", 1600), **many("a/y/", 1600), "z/deep/er/model.Q8_0.gguf": CONTENT}
    repository.add_all(files)
    answer = await bench.answer(f"{REF}:Q8_0")
    assert answer.plan.files[0].path == f"modelscope/{NAME}/z/deep/er/model.Q8_0.gguf"
    assert str(answer.plan.files[0].digest) == sha256(CONTENT)
    assert [one.selector for one in answer.alternatives.nearest] == ["Q4_K_M"], "all of them are known"
    assert requests(bench, LISTING) <= 10


async def test_a_directory_with_too_many_files_is_refused_with_what_to_write(
    bench: Bench, repository: Repository
) -> None:
    repository.add_all({**many("logs/", 3000), "logs/zzz.Q8_0.gguf": CONTENT})
    with pytest.raises(UnsupportedSource, match=rf"no more than 3,000 entries of 'logs' .*{REF}:DIRECTORY/MODEL.gguf"):
        await bench.resolve(f"{REF}:Q8_0")
    with pytest.raises(UnsupportedSource, match=r"no more than 3,000 entries of 'logs'"):
        await bench.resolve(f"{REF}:logs/")


async def test_a_file_that_is_not_listed_is_found_by_its_path(bench: Bench, repository: Repository) -> None:
    parts = {f"logs/zzz-0000{number}-of-00002.gguf": tiny_gguf(seed=number) for number in (1, 2)}
    repository.add_all({**many("logs/", 3000), **parts})
    plan = await bench.resolve(f"{REF}:logs/zzz-00001-of-00002.gguf")
    assert [(file.size, str(file.digest)) for file in plan.files] == [
        (len(content), sha256(content)) for content in parts.values()
    ]
    assert requests(bench, LISTING) == 1
    with pytest.raises(SourceNotFound):
        await bench.resolve(f"{REF}:logs/zzz-00001-of-00003.gguf")


async def test_a_directory_in_the_ref_is_listed_alone(bench: Bench, repository: Repository) -> None:
    repository.add_all({**many("a/", 3000), "b/c/model.Q8_0.gguf": CONTENT})
    plan = await bench.resolve(f"{REF}:b/")
    assert plan.files[0].path == f"modelscope/{NAME}/b/c/model.Q8_0.gguf"
    assert requests(bench, LISTING) == 2
    with pytest.raises(SourceNotFound):
        await bench.resolve(f"{REF}:none/")


async def test_a_listing_of_just_fewer_entries_is_complete(bench: Bench, repository: Repository) -> None:
    repository.add_all(many("", 2996))
    await bench.resolve(REF)
    assert requests(bench, LISTING) == 1, "2996, the attributes, the card and the model: 2999 entries"


# Who may read.


async def test_what_is_missing_and_what_is_refused_are_told_apart(bench: Bench, repository: Repository) -> None:
    with pytest.raises(SourceNotFound, match=r"does not exist on .*, or is private: .*give a token") as caught:
        await bench.resolve("modelscope:owner/none")
    assert caught.value.wants_token
    repository.private = True
    with pytest.raises(AccessDenied, match=r"gives no access to .* without a token") as denied:
        await bench.resolve(REF)
    assert denied.value.wants_token
    bench.hub.tokens.add("known")
    with pytest.raises(AccessDenied, match=r"with the token that was sent: ask the owner"):
        await bench.resolve(REF, credentials=token_for(bench.hub, "known"))
    with pytest.raises(SourceNotFound, match=r"or the token's account may not see it"):
        await bench.resolve("modelscope:owner/none", credentials=token_for(bench.hub, "known"))
    for ref in (REF, "modelscope:owner/none"):
        with pytest.raises(AccessDenied, match=r"does not accept the token that was sent"):
            await bench.resolve(ref, credentials=token_for(bench.hub, "unknown-token"))


async def test_a_private_model_is_fetched_with_its_token_which_no_other_host_gets(
    bench: Bench, repository: Repository
) -> None:
    repository.private = True
    repository.tag("v1")
    repository.add("other.gguf", b"GGUF")
    credentials = token_for(bench.hub, "hf_good")
    plan = await bench.resolve(f"{REF}@v1", credentials=credentials)
    provided = await bench.transfer(plan, credentials=credentials)
    assert bench.content(provided) == CONTENT
    assert all(request.authorization for request in bench.hub.log if request.origin == "api")
    assert not any(request.authorization for request in bench.hub.log if request.origin == "content")


async def test_who_may_list_and_not_read_gets_no_plan(bench: Bench, repository: Repository) -> None:
    repository.gated = True
    bench.hub.tokens.add("known")
    for token in (None, "known"):
        with pytest.raises(AccessDenied, match=r"gives no access"):
            await bench.resolve(REF, credentials=token_for(bench.hub, token) if token else None)
    plan = await bench.resolve(REF, credentials=token_for(bench.hub, "hf_good"))
    assert str(plan.files[0].digest) == sha256(CONTENT)


async def test_limits_and_failures_are_tried_again_later(bench: Bench, repository: Repository) -> None:
    bench.hub.fail(429, where="api", headers={"Retry-After": "7"})
    with pytest.raises(RateLimited) as caught:
        await bench.resolve(REF)
    assert caught.value.retry_after == 7
    bench.hub.fail(502, where="api")
    with pytest.raises(SourceUnavailable, match=r"answered 502"):
        await bench.resolve(REF)


async def test_the_digest_of_the_user_is_compared(bench: Bench, repository: Repository) -> None:
    with pytest.raises(DigestMismatch, match=r"correct the digest"):
        await bench.resolve(REF, digest=sha256(b"other"))
    plan = await bench.resolve(REF, digest=sha256(CONTENT))
    bench.hub.corrupt(MODEL, 2_000_000)
    with pytest.raises(DigestMismatch):
        await bench.transfer(plan)
    assert not (bench.root / plan.files[0].path).exists()


async def test_the_projector_is_found_beside_the_model(bench: Bench, repository: Repository) -> None:
    repository.add("mmproj-model-f16.gguf", tiny_projector())
    plan = await bench.resolve(REF, projector=True)
    assert [file.path for file in plan.files] == [
        f"modelscope/{NAME}/{name}" for name in (MODEL, "mmproj-model-f16.gguf")
    ]
    assert plan.projector == plan.files[1]
    assert (await bench.resolve(REF)).projector is None


async def test_an_adapter_is_fetched_by_its_path(bench: Bench, repository: Repository) -> None:
    repository.add("lora/adapter.gguf", tiny_adapter())
    provided = await bench.transfer(await bench.resolve(f"{REF}:lora/adapter.gguf"))
    assert bench.content(provided) == tiny_adapter()


async def test_no_projector_is_guessed_where_not_all_files_are_listed(bench: Bench, repository: Repository) -> None:
    for number in range(3000):
        repository.add(f"many/{number}.txt", b"x")
    with pytest.raises(UnsupportedSource, match="its projector can't be found: ask for no projector"):
        await bench.resolve(f"{REF}:{MODEL}", projector=True)
