"""The projector of an artifact in a registry: which layer it is, its name, and artifacts without one that fits."""

import pytest

from model_provisioner.domain.errors import AmbiguousModel, NotGGUF, SourceNotFound, UnsupportedSource
from model_provisioner.domain.gguf.file_role import FileRole
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.registry import FILEPATH, GGUF, RAW, TITLE, Document, Pusher, descriptor
from tests.transfer.sources.token_registry import token_registry
from tests.transfer.sources.web import Fetcher, sha256

MODEL, OTHER = tiny_gguf(), tiny_gguf(seed=1)
MMPROJ = "application/vnd.docker.ai.mmproj"
PROJECTOR = tiny_projector()
PROJECTORS = {
    "Docker Model Runner 0.1": (MMPROJ, {}, "mmproj.gguf"),
    "Docker Model Runner 0.2": (MMPROJ, {FILEPATH: "vision-f16.gguf"}, "vision-f16.gguf"),
    "ModelPack raw": (RAW, {FILEPATH: "mmproj-F16.gguf"}, "mmproj-F16.gguf"),
    "ModelPack raw, in a directory of its own": (RAW, {FILEPATH: "projector/mmproj.gguf"}, "projector/mmproj.gguf"),
    "any other": ("application/octet-stream", {TITLE: "tiny.mmproj-Q8_0.gguf"}, "tiny.mmproj-Q8_0.gguf"),
}


def ref_of(pusher: Pusher) -> str:
    return f"oci://{pusher.url.removeprefix('http://')}/{pusher.repository}:v1"


@pytest.mark.parametrize("shape", PROJECTORS)
async def test_the_projector_is_a_file_of_the_plan_and_published_first(
    pusher: Pusher, fetch: Fetcher, shape: str
) -> None:
    media_type, annotations, name = PROJECTORS[shape]
    layers = [pusher.blob(PROJECTOR, media_type, **annotations), pusher.blob(MODEL, GGUF)]
    pusher.artifact("v1", layers)
    plan = await fetch.resolve(ref_of(pusher), digest=sha256(MODEL), projector=True)
    model, projector = plan.files
    assert (projector.role, str(projector.digest)) == (FileRole.PROJECTOR, sha256(PROJECTOR))
    assert projector.path == model.path.replace("model.gguf", name)
    provided = await fetch.transfer(plan)
    assert [fetch.content(provided, index) for index in (0, 1)] == [MODEL, PROJECTOR]
    assert provided.gguf.architecture == "llama"
    first, second = ((fetch.root / path).stat().st_ctime_ns for path in (projector.path, model.path))
    assert first < second
    assert (await fetch.resolve(ref_of(pusher))).files == (model,)


TWO = [descriptor(b"1", MMPROJ), descriptor(b"2", MMPROJ)]
NAMED = [descriptor(name.encode(), RAW, **{FILEPATH: name}) for name in ("mmproj-F32.gguf", "mmproj-Q4_0.gguf")]
WITH: list[tuple[list[Document], str | None, str]] = [
    ([], None, "has no layer with a multimodal projector, .*: ask for no projector"),
    (TWO[:1], "mmproj.gguf", ""),
    (TWO, None, "2 projectors fit tiny-Q8_0.gguf equally well: mmproj.gguf, mmproj-2.gguf; ask for no projector"),
    ([TWO[0], TWO[0]], "mmproj.gguf", ""),
    (NAMED, "mmproj-F32.gguf", ""),
    ([*NAMED, TWO[0]], "mmproj.gguf", ""),
    ([descriptor(b"1", MMPROJ, **{FILEPATH: "tiny-Q8_0.gguf"})], None, "two layers are called 'tiny-Q8_0.gguf'"),
    ([descriptor(MODEL, MMPROJ, **{FILEPATH: "tiny-Q8_0.gguf"})], None, "has no layer with a multimodal projector"),
    ([descriptor(b"1", MMPROJ, **{FILEPATH: "../mmproj.gguf"})], None, r"has an empty, '\.' or '\.\.' part"),
    ([descriptor(b"1", MMPROJ, **{FILEPATH: "model.mmproj"})], "mmproj.gguf", ""),
]


@pytest.mark.parametrize(("layers", "name", "says"), WITH, ids=lambda value: str(value)[:60])
async def test_one_projector_fits_or_the_reason_is_told(
    fetch: Fetcher, layers: list[Document], name: str | None, says: str
) -> None:
    async with token_registry() as hub:
        hub.put("sees", [descriptor(MODEL, GGUF, **{FILEPATH: "tiny-Q8_0.gguf"}), *layers])
        ref = f"oci://{hub.host}/team/tiny:sees"
        if name is None:
            with pytest.raises((AmbiguousModel, SourceNotFound, UnsupportedSource), match=says):
                await fetch.resolve(ref, projector=True)
            return
        plan = await fetch.resolve(ref, projector=True)
    assert [file.path.rpartition("/")[2] for file in plan.files] == ["tiny-Q8_0.gguf", name]


async def test_another_file_in_the_place_of_the_projector_is_refused_before_a_byte_of_the_model(
    pusher: Pusher, fetch: Fetcher
) -> None:
    pusher.artifact("v1", [pusher.blob(MODEL, GGUF), pusher.blob(OTHER, MMPROJ)])
    with pytest.raises(NotGGUF, match=r"mmproj\.gguf: not a multimodal projector"):
        await fetch.transfer(await fetch.resolve(ref_of(pusher), projector=True))
    assert not list(fetch.root.rglob("*.gguf"))
