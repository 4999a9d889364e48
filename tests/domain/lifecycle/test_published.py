"""`status.model` when the plan is known, and when all bytes are present."""

from dataclasses import replace

from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.lifecycle.published import planned_model, published_model
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings
from model_provisioner.domain.modeldownload import DigestSource, Projector
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Plan, PlannedFile

ONE, OTHER = (Digest.parse("sha256:" + digit * 64) for digit in "01")


def plan(*digests: Digest | None) -> Plan:
    files = (PlannedFile(f"hf/a/b/{number}.gguf", 1024, one, "s", "u") for number, one in enumerate(digests))
    return Plan("hf:A/b", "c" * 40, tuple(files), "a/b")


def test_a_model_of_one_file_has_its_digest_and_says_whose_it_is() -> None:
    published = planned_model(plan(ONE), "models", "store", None)
    assert (published.digest, published.digest_source) == (str(ONE), DigestSource.SOURCE)
    assert published.repository == "a/b"
    assert (published.path, published.size, published.size_bytes) == ("hf/a/b/0.gguf", "1 KiB", 1024)
    assert planned_model(plan(ONE), "models", "store", str(ONE)).digest_source == DigestSource.SPEC


def test_a_split_model_has_one_digest_for_each_file_and_none_in_all() -> None:
    split = planned_model(plan(ONE, OTHER), "models", "store", None)
    assert (split.digest, [file.digest for file in split.files]) == (None, [str(ONE), str(OTHER)])
    assert planned_model(plan(ONE, None), "models", "store", None).digest_source == DigestSource.COMPUTED


def test_a_digest_that_was_computed_is_told_once_it_is_known() -> None:
    planned = planned_model(plan(None), "models", "store", None)
    assert (planned.digest, planned.digest_source) == (None, DigestSource.COMPUTED)
    files = (FileRecord("hf/a/b/0.gguf", 1024, str(ONE)),)
    here = published_model(planned, files, GGUFSummary("llama"))
    assert (here.digest, here.digest_source, here.files) == (str(ONE), DigestSource.COMPUTED, files)


def test_the_settings_of_ollama_stay_with_the_model() -> None:
    planned = planned_model(plan(ONE), "models", "store", None, OllamaSettings(system="Be brief."))
    here = published_model(planned, planned.files, GGUFSummary("llama"))
    assert planned.ollama == here.ollama == OllamaSettings(system="Be brief.")


def test_a_projector_counts_as_a_file_and_not_in_the_digest() -> None:
    model, projector = plan(ONE, None).files
    with_projector = replace(plan(ONE), files=(model, replace(projector, role=FileRole.PROJECTOR)))
    planned = planned_model(with_projector, "models", "store", None)
    assert (planned.projector, planned.size_bytes) == (Projector("hf/a/b/1.gguf"), 2048)
    assert (planned.digest, planned.digest_source) == (str(ONE), DigestSource.SOURCE)
    files = (FileRecord("hf/a/b/0.gguf", 1024, str(ONE)), FileRecord("hf/a/b/1.gguf", 1024, str(OTHER)))
    published = published_model(planned, files, GGUFSummary("llama"))
    assert (published.digest, published.projector, published.files) == (str(ONE), planned.projector, files)
