"""What Ollama reads of a model: configuration, layers, manifest."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings
from model_provisioner.domain.modeldownload import Model, ModelDownload, Projector, Spec, Status
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.views.ollama_image import (
    MAX_MANIFEST_BYTES,
    FoundManifest,
    manifest,
    parameter_size,
    read_manifest,
    viewed_model,
)
from model_provisioner.domain.views.ollama_model import ViewedModel
from tests.support.samples import FILE, MODEL

DIGESTS = [f"sha256:{digit * 64}" for digit in "abc"]
GGUF = GGUFSummary("llama", parameters=1_100_048_384, quantization="Q4_K_M")


def viewed(model: Model, name: str = "tiny") -> ViewedModel | str:
    download = ModelDownload("models", name, "uid", 1, "1", "", False, None, Spec("local:x.gguf"), Status())
    return viewed_model(download, model)


def image(model: Model) -> ViewedModel:
    found = viewed(model)
    assert isinstance(found, ViewedModel)
    return found


def test_the_configuration_has_what_ollama_lists() -> None:
    config = json.loads(image(replace(MODEL, gguf=GGUF)).config.text)
    assert config == {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "1.1B",
        "file_type": "Q4_K_M",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [FILE.digest]},
    }


@pytest.mark.parametrize("gguf", [GGUFSummary("clip"), GGUFSummary("llama", adapter=True)])
def test_a_projector_or_an_adapter_by_itself_is_not_in_the_view(gguf: GGUFSummary) -> None:
    found = viewed(replace(MODEL, gguf=gguf))
    assert isinstance(found, str)
    assert found.startswith("is a")


@pytest.mark.parametrize(
    ("parameters", "written"),
    [
        (0, "0"),
        (999, "999"),
        (1_500, "2K"),
        (22_000_000, "22M"),
        (134_515_008, "134.52M"),
        (1_100_048_384, "1.1B"),
        (7_000_000_000, "7B"),
    ],
)
def test_parameters_are_written_as_ollama_writes_them(parameters: int, written: str) -> None:
    assert parameter_size(parameters) == written


def test_the_manifest_names_every_blob_with_its_type_and_size() -> None:
    files = (FILE, FileRecord("hf/a/b/mmproj.gguf", 500, DIGESTS[0]))
    settings = OllamaSettings("{{ .Prompt }}", '{"num_ctx":4096}', "Be brief.")
    found = image(replace(MODEL, files=files, projector=Projector(files[1].path), gguf=GGUF, ollama=settings))
    document = json.loads(manifest(found, "models/claim"))
    texts = {"template": "{{ .Prompt }}", "system": "Be brief.", "params": '{"num_ctx":4096}'}
    assert document == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": blob("application/vnd.docker.container.image.v1+json", found.config.text),
        "layers": [
            {"mediaType": "application/vnd.ollama.image.model", "digest": FILE.digest, "size": 1000},
            {"mediaType": "application/vnd.ollama.image.projector", "digest": DIGESTS[0], "size": 500},
            *(blob(f"application/vnd.ollama.image.{kind}", text) for kind, text in texts.items()),
        ],
        "annotations": {"models.rbee.dev/claim": "models/claim", "models.rbee.dev/model": "models/tiny"},
    }


def blob(media_type: str, text: str) -> dict[str, Any]:
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(text.encode())}


def test_the_projector_is_known_by_its_path_and_not_by_its_place() -> None:
    files = (FileRecord("hf/a/b/mmproj.gguf", 500, DIGESTS[0]), FILE)
    found = image(replace(MODEL, files=files, projector=Projector(files[0].path)))
    assert [layer.file for layer in found.files] == [FILE, files[0]]


def test_a_model_that_ollama_can_not_read_is_told_why() -> None:
    parts = tuple(FileRecord(f"hf/a/b/x-0000{n}-of-00002.gguf", 1, DIGESTS[n]) for n in (1, 2))
    assert "split" in str(viewed(replace(MODEL, files=parts)))
    for digest in (None, "", "md5:0", "sha256:x"):
        assert "digest" in str(viewed(replace(MODEL, files=(replace(FILE, digest=digest),))))
    assert "80 letters" in str(viewed(MODEL, "t" * 81))


def test_a_manifest_is_read_as_it_was_written() -> None:
    found = image(replace(MODEL, gguf=GGUF, ollama=OllamaSettings("{{ .Prompt }}")))
    digests = {FILE.digest, str(found.config.digest), str(found.texts[0].digest)}
    expected = FoundManifest("models/claim", "models/tiny", frozenset(map(Digest.parse, filter(None, digests))))
    assert read_manifest(manifest(found, "models/claim")) == expected


def test_a_manifest_of_ollama_itself_has_no_claim() -> None:
    document = {"schemaVersion": 2, "config": {"digest": DIGESTS[0]}, "layers": [{"digest": DIGESTS[1]}]}
    read = read_manifest(json.dumps(document).encode())
    assert read == FoundManifest(None, None, frozenset(map(Digest.parse, DIGESTS[:2])))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"1",
        b"{}",
        b'{"config":1,"layers":[]}',
        b'{"config":{"digest":"x"},"layers":[]}',
        b'{"annotations":1,"config":{},"layers":[]}',
        b"[" * 20_000,
    ],
)
def test_anything_else_is_no_manifest(data: bytes) -> None:
    assert read_manifest(data) is None


@given(st.integers(0, 2**63), st.text(max_size=60), st.text(max_size=60))
def test_what_a_header_says_never_makes_a_manifest_that_is_not_read(size: int, family: str, quantization: str) -> None:
    found = image(replace(MODEL, gguf=GGUFSummary(family, parameters=size, quantization=quantization)))
    written = manifest(found, "models/claim")
    assert len(written) < MAX_MANIFEST_BYTES
    assert read_manifest(written) is not None
