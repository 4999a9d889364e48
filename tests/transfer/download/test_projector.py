"""A model with its multimodal projector: one plan, the projector published first, both verified."""

import re
from pathlib import Path

import pytest

from model_provisioner.domain.errors import (
    AmbiguousModel,
    DigestMismatch,
    InvalidRef,
    NotGGUF,
    SourceNotFound,
)
from model_provisioner.domain.gguf.file_role import FileRole
from tests.support.ggufs import tiny_adapter, tiny_gguf, tiny_projector, write_split
from tests.support.models import files_below, put
from tests.transfer.bench import MODEL, NAME, REF, Bench, sha256

MMPROJ = "mmproj-model-f16.gguf"
CONTENT, PROJECTOR = tiny_gguf(), tiny_projector()


def add(bench: Bench, **files: bytes) -> None:
    repository = bench.hub.repository(NAME)
    for path, content in {MODEL: CONTENT, MMPROJ: PROJECTOR, **files}.items():
        repository.add(path, content)


async def test_the_plan_has_the_projector_last(bench: Bench) -> None:
    add(bench)
    plan = await bench.resolve(projector=True)
    assert [(file.path, file.size, str(file.digest), file.role) for file in plan.files] == [
        (f"hf/{NAME}/{MODEL}", len(CONTENT), sha256(CONTENT), FileRole.MODEL),
        (f"hf/{NAME}/{MMPROJ}", len(PROJECTOR), sha256(PROJECTOR), FileRole.PROJECTOR),
    ]
    assert plan.projector == plan.files[1]
    assert (await bench.resolve()).files == plan.model_files


async def test_it_is_published_before_the_model_and_is_no_part_of_its_summary(bench: Bench) -> None:
    add(bench)
    provided = await bench.transfer(await bench.resolve(projector=True))
    assert [bench.content(provided, index) for index in (0, 1)] == [CONTENT, PROJECTOR]
    model, projector = (bench.root / file.path for file in provided.files)
    assert model.stat().st_ctime_ns > projector.stat().st_ctime_ns
    assert (provided.gguf.architecture, provided.gguf.quantization) == ("llama", "Q4_K_M")
    assert [request.path.rpartition("/")[2] for request in bench.hub.log if "/resolve/" in request.path][:1] == [MMPROJ]
    assert bench.hub.bytes_sent() == provided.received == len(CONTENT) + len(PROJECTOR)


async def test_a_split_model_is_combined_without_its_projector(bench: Bench, tmp_path: Path) -> None:
    repository = bench.hub.repository(NAME)
    repository.add(MMPROJ, PROJECTOR)
    for part in write_split(tmp_path, "model.Q8_0", 2, size=200_000):
        repository.add(f"Q8_0/{part.name}", part)
    plan = await bench.resolve(projector=True)
    provided = await bench.transfer(plan)
    assert [file.path.rpartition("/")[2] for file in provided.files] == [
        "model.Q8_0-00001-of-00002.gguf",
        "model.Q8_0-00002-of-00002.gguf",
        MMPROJ,
    ]
    alone = await bench.fetch()
    assert alone.gguf == provided.gguf


async def test_another_file_is_refused_before_a_byte_of_the_model(bench: Bench) -> None:
    repository = bench.hub.repository(NAME)
    repository.add(MODEL, CONTENT)
    repository.add(MMPROJ, tiny_gguf(size=8 * 1024**2))
    with pytest.raises(NotGGUF, match=r"mmproj-model-f16\.gguf: not a multimodal projector: its architecture is llama"):
        await bench.transfer(await bench.resolve(projector=True))
    assert not files_below(bench.root)
    assert bench.hub.bytes_sent(MODEL) == 0


async def test_what_another_object_has_fetched_is_not_fetched_again(bench: Bench) -> None:
    add(bench)
    await bench.fetch()
    bench.hub.clear_log()
    provided = await bench.transfer(await bench.resolve(projector=True))
    assert bench.hub.bytes_sent() == len(PROJECTOR)
    assert bench.content(provided, 1) == PROJECTOR


async def test_the_digest_is_that_of_the_model(bench: Bench) -> None:
    add(bench)
    plan = await bench.resolve(digest=sha256(CONTENT), projector=True)
    assert [str(file.digest) for file in plan.files] == [sha256(CONTENT), sha256(PROJECTOR)]
    with pytest.raises(DigestMismatch, match=MODEL):
        await bench.resolve(digest=sha256(PROJECTOR), projector=True)


async def test_a_repository_without_a_projector_is_an_error_that_says_what_to_do(bench: Bench) -> None:
    bench.hub.repository(NAME).add(MODEL, CONTENT)
    with pytest.raises(SourceNotFound, match=r"the repository has no multimodal projector .*ask for no projector"):
        await bench.resolve(projector=True)


async def test_two_that_fit_are_listed(bench: Bench) -> None:
    add(bench, **{"mmproj-other-f16.gguf": PROJECTOR})
    with pytest.raises(AmbiguousModel, match=r"2 projectors fit"):
        await bench.resolve(projector=True)


@pytest.mark.parametrize("ref", ["local:mine.gguf", "https://models.example/mine.gguf", "s3://models/mine.gguf"])
async def test_a_source_of_single_files_has_no_projector(ref: str, bench: Bench) -> None:
    put(bench.root, "local/mine.gguf", CONTENT)
    with pytest.raises(InvalidRef, match=rf"^{re.escape(ref)} names a single file.*: ask for no projector"):
        await bench.resolve(ref, projector=True)


async def test_a_projector_is_fetched_by_its_own_path(bench: Bench) -> None:
    add(bench)
    provided = await bench.fetch(f"{REF}:{MMPROJ}")
    assert (bench.content(provided), provided.gguf.architecture) == (PROJECTOR, "clip")


async def test_an_adapter_is_fetched_by_its_path_and_only_so(bench: Bench) -> None:
    adapter = tiny_adapter()
    bench.hub.repository(NAME).add("adapter.gguf", adapter)
    with pytest.raises(NotGGUF, match=r"adapter\.gguf: an adapter \(LoRA\), not a model: .* by its path$"):
        await bench.fetch()
    assert not files_below(bench.root)
    provided = await bench.fetch(f"{REF}:adapter.gguf")
    assert bench.content(provided) == adapter
