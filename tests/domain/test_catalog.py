"""The entry of a model in the catalog, and the size limit of a catalog."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.catalog import LIMIT_BYTES, DriftBackoff, Entry, lists, refusal, rows, size
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary, OllamaSettings
from model_provisioner.domain.model_files.ollama_settings import MOST_BYTES
from model_provisioner.domain.modeldownload import Projector
from tests.support.samples import MODEL

NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\.(json|path|claim|projector|a))?", fullmatch=True)


def test_tensor_types_that_llama_cpp_does_not_know_are_listed() -> None:
    model = replace(MODEL, gguf=GGUFSummary(architecture="llama", unknown_tensor_types=(137, 144)))
    document = json.loads(rows("tiny", Entry("hf:a/b", model))["tiny.json"])
    assert document["gguf"]["unknownTensorTypes"] == [137, 144]


def test_the_base_model_is_there_for_programs_that_want_its_tokenizer() -> None:
    model = replace(MODEL, gguf=GGUFSummary(architecture="llama", base_model="acme/base"))
    assert json.loads(rows("tiny", Entry("hf:a/b", model))["tiny.json"])["gguf"]["baseModel"] == "acme/base"


def test_a_model_has_three_keys() -> None:
    model = replace(MODEL, gguf=GGUFSummary(architecture="llama", context_length=4096, chat_template=True))
    said = rows("tiny", Entry("hf:a/b", model))
    assert list(said) == ["tiny.json", "tiny.path", "tiny.claim"]
    assert (said["tiny.path"], said["tiny.claim"]) == (MODEL.path, "models")
    assert json.loads(said["tiny.json"]) == {
        "modelRef": "hf:a/b",
        "claimName": "models",
        "path": MODEL.path,
        "files": [{"path": MODEL.path, "sizeBytes": 1000, "digest": MODEL.digest}],
        "sizeBytes": 1000,
        "digest": MODEL.digest,
        "revision": MODEL.revision,
        "gguf": {"architecture": "llama", "contextLength": 4096, "chatTemplate": True},
    }


def test_a_catalog_lists_what_it_has_in_the_same_words() -> None:
    entry = Entry("hf:a/b", MODEL)
    said = dict(rows("tiny", entry))
    assert lists(said, "tiny", entry)
    assert not lists(said, "other", entry)
    for changed in (
        replace(MODEL, path="hf/a/b/y.gguf"),
        replace(MODEL, claim_name="other"),
        replace(MODEL, files=(replace(MODEL.files[0], digest="sha256:" + "1" * 64),)),
    ):
        assert not lists(said, "tiny", Entry("hf:a/b", changed))
    assert not lists({**said, "tiny.path": "hf/a/b/y.gguf"}, "tiny", entry)


def test_a_catalog_of_an_earlier_version_lists_it_too() -> None:
    entry = Entry("hf:a/b", replace(MODEL, gguf=GGUFSummary(architecture="llama")))
    said = dict(rows("tiny", entry))
    document = json.loads(said["tiny.json"])
    del document["gguf"]
    assert lists({**said, "tiny.json": json.dumps(document)}, "tiny", entry)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{", '{"path": "x"}'])
def test_a_catalog_with_any_other_text_lists_nothing(text: str) -> None:
    entry = Entry("hf:a/b", MODEL)
    assert not lists({**rows("tiny", entry), "tiny.json": text}, "tiny", entry)


def test_a_projector_has_a_key_of_its_own() -> None:
    said = rows("tiny", Entry("hf:a/b", replace(MODEL, projector=Projector("hf/a/b/mmproj.gguf"))))
    assert list(said) == ["tiny.json", "tiny.path", "tiny.claim", "tiny.projector"]
    assert said["tiny.projector"] == "hf/a/b/mmproj.gguf"
    assert json.loads(said["tiny.json"])["projector"] == {"path": "hf/a/b/mmproj.gguf"}


def test_what_ollama_publishes_with_a_model_is_in_its_entry_as_it_was_written() -> None:
    found = OllamaSettings("{{ .Prompt }}", '{"num_ctx":4096}', "Be brief.")
    said = json.loads(rows("tiny", Entry("ollama:tiny", replace(MODEL, ollama=found)))["tiny.json"])
    assert said["ollama"] == {
        "template": "{{ .Prompt }}",
        "parameters": '{"num_ctx":4096}',
        "system": "Be brief.",
    }
    left_out = OllamaSettings(omitted=("template",))
    said = json.loads(rows("tiny", Entry("ollama:tiny", replace(MODEL, ollama=left_out)))["tiny.json"])
    assert said["ollama"] == {"omitted": ["template"]}


@pytest.mark.parametrize("text", ["x", "\n", '"', "я", "字"])
def test_the_longest_texts_of_ollama_leave_room_for_other_models(text: str) -> None:
    longest = text * (MOST_BYTES // len(text.encode()))
    entry = Entry("ollama:tiny", replace(MODEL, ollama=OllamaSettings(longest)))
    assert LIMIT_BYTES // size([rows("tiny", entry)]) >= 16


@given(st.sets(NAMES, min_size=2, max_size=8))
def test_no_name_spells_a_key_of_another(names: set[str]) -> None:
    model = replace(MODEL, projector=Projector("hf/a/b/mmproj.gguf"))
    keys = [key for name in names for key in rows(name, Entry("hf:a/b", model))]
    assert len(set(keys)) == 4 * len(names)


def test_the_size_is_that_of_keys_and_values_in_bytes() -> None:
    assert size([]) == size([{}]) == 0
    assert size([{"a": "bc"}, {"ü": ""}]) == 5


@pytest.mark.parametrize("used", [0, LIMIT_BYTES - 500])
def test_a_model_that_fits_is_not_refused(used: int) -> None:
    assert refusal(3, used, 500) is None


def test_a_refusal_tells_the_numbers_and_what_to_do() -> None:
    why = refusal(812, LIMIT_BYTES - 100, 1024)
    assert why is not None
    assert "812 models in 799.9 KiB of at most 800.0 KiB" in why
    assert "1.0 KiB more" in why
    assert "another namespace" in why


def test_about_eight_hundred_models_of_usual_size_fit() -> None:
    path = "hf/TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"
    gguf = GGUFSummary("llama", "tinyllama_tinyllama-1.1b-chat-v1.0", 1_100_048_384, "Q4_K_M", 2048, "apache-2.0", True)
    file = FileRecord(path, 668_788_096, MODEL.digest)
    usual = replace(MODEL, path=path, files=(file,), size_bytes=file.size_bytes, gguf=gguf)
    one = size([rows("tinyllama-chat-q4", Entry("hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M", usual))])
    assert 800 <= LIMIT_BYTES // one <= 1200


def test_a_dispute_pauses_ever_longer_until_it_is_over() -> None:
    dispute, now, pauses = DriftBackoff(), 5.0, []
    for _ in range(9):
        dispute = dispute.next(now)
        pauses.append(dispute.pause)
        now += dispute.pause + 1
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 60, 60]
    assert dispute.next(dispute.at + 70).pause == 60
    assert dispute.next(dispute.at + 71).pause == 0


def test_a_change_now_and_then_is_no_dispute() -> None:
    dispute = DriftBackoff().next(0).next(11).next(22)
    assert dispute.pause == 0
