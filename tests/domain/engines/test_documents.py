"""How the files of an engine are put together: one for each claim, ordered, within the limit of a ConfigMap."""

import re
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from model_provisioner.domain.catalog import LIMIT_BYTES, Entry, rows, size
from model_provisioner.domain.engines.documents import Section, documents, section
from model_provisioner.domain.engines.engines import ENGINES
from model_provisioner.domain.engines.llama_cpp import LLAMA_CPP
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.modeldownload import Model, Projector
from tests.domain.engines.preset_file import read_presets
from tests.support.samples import MODEL

KEY = "llama-cpp.models.ini"


def made(name: str, model: Model = MODEL) -> Section:
    return section(LLAMA_CPP, name, model, "/models")


def on(claim: str) -> Model:
    return replace(MODEL, claim_name=claim)


def test_each_claim_has_a_file_and_a_claim_without_models_has_none() -> None:
    found = documents(LLAMA_CPP, [made("b", on("two")), made("c", on("one")), made("a", on("two"))])
    assert list(found) == ["llama-cpp.one.ini", "llama-cpp.two.ini"]
    assert list(read_presets(found["llama-cpp.two.ini"])) == ["a", "b"]
    assert documents(LLAMA_CPP, []) == {}


def test_a_file_with_nothing_but_models_that_do_not_fit_is_not_made() -> None:
    """LocalAI makes a model without a name of a file without entries."""
    assert documents(LLAMA_CPP, [made("a", replace(MODEL, path="local/#.gguf"))]) == {}


def test_a_claim_whose_key_would_be_too_long_takes_no_file_from_others() -> None:
    longest = "c" * (253 - len("llama-cpp..ini"))
    found = documents(LLAMA_CPP, [made("a", on(longest + "c")), made("b", on(longest)), made("d")])
    assert list(found) == [f"llama-cpp.{longest}.ini", KEY]
    assert max(map(len, found)) == 253


def test_a_model_without_room_leaves_the_older_ones_their_place() -> None:
    names = ["old", "younger", "youngest", "a"]
    whole = documents(LLAMA_CPP, map(made, names[:2]))
    found = documents(LLAMA_CPP, map(made, names), size([whole]))
    assert list(read_presets(found[KEY])) == ["old", "younger"]
    assert found[KEY].endswith("; 2 further models are left out: the ConfigMap has no room\n")
    assert found[KEY].startswith(whole[KEY])


def test_a_small_model_fits_where_a_large_one_does_not() -> None:
    large = replace(MODEL, path=f"hf/{'x' * 200}.gguf")
    limit = size([documents(LLAMA_CPP, [made("small")])])
    found = documents(LLAMA_CPP, [made("large", large), made("small")], limit)
    assert list(read_presets(found[KEY])) == ["small"]
    assert "; 1 further models are left out" in found[KEY]


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(1, 300)), max_size=12), st.integers(0, 900))
def test_the_limit_holds_but_for_the_notes(wanted: list[tuple[str, int]], limit: int) -> None:
    sections = [
        made(f"n{number}", replace(on(claim), path=f"hf/{'x' * length}.gguf"))
        for number, (claim, length) in enumerate(wanted)
    ]
    found = documents(LLAMA_CPP, sections, limit)
    without_notes = {key: re.sub(r"; \d+ further models .*\n", "", text) for key, text in found.items()}
    assert size([without_notes]) <= limit
    assert sum(len(read_presets(text)) for text in found.values()) <= len(wanted)


def test_an_engine_has_room_for_every_model_that_the_catalog_has_room_for() -> None:
    """For short paths and for the longest ones. A very long mount path can take more."""
    for path in ("hf/a/b/c.gguf", f"hf/{'x/' * 1000}a.gguf", f"hf/{'я/' * 1000}a.gguf"):
        for projector in (None, Projector(path)):
            model = replace(MODEL, path=path, projector=projector, files=(FileRecord(path, 1, MODEL.digest),))
            in_catalog = size([rows("n000", Entry("hf:a/b", model))])
            for engine in ENGINES.values():
                here = len(section(engine, "n000", model, "/models").text.encode())
                assert here * (LIMIT_BYTES // in_catalog) < LIMIT_BYTES, (engine.name, path[:20])
