"""The file of each engine: what it looks like, and that the engine reads exactly the names and paths that were put in.

Any path that a store can have is tried. PyYAML stands for the parsers of LocalAI and llama-swap, `shlex` for the rules
by which llama-swap splits a command, `preset_file` for the parser of llama.cpp.
"""

import os
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from model_provisioner.domain.engines.documents import documents, section
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.engines import ENGINES
from model_provisioner.domain.engines.served_model import is_mount_path
from model_provisioner.domain.engines.yaml_text import quoted
from model_provisioner.domain.model_facts import GGUFSummary
from model_provisioner.domain.modeldownload import Model, Projector
from model_provisioner.domain.store.paths import is_safe
from tests.domain.engines.preset_file import read_presets
from tests.support.samples import MODEL

GOLDENS = Path(__file__).parents[2] / "data" / "engines"

SPLIT = "hf/acme/big/big-Q4_K_M-00001-of-00003.gguf"
EXAMPLES = {
    "tinyllama": replace(MODEL, path="hf/TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"),
    "gemma-3": replace(MODEL, path="hf/acme/g/g.gguf", projector=Projector("hf/acme/g/mmproj-F16.gguf")),
    "split": replace(MODEL, path=SPLIT),
    "quoted": replace(MODEL, path='local/it\'s "mine" = 100%, $5 [字] 😀.gguf'),
    "1e3": replace(MODEL, path="local/null.gguf"),
    "comment": replace(MODEL, path="local/a;b.gguf"),
    "dots": replace(MODEL, path="local/a..b.gguf"),
    "macro": replace(MODEL, path="local/${HOME}.gguf"),
    "projector": replace(MODEL, path="hf/acme/g/mmproj-F16.gguf", gguf=GGUFSummary("clip")),
    "adapter": replace(MODEL, path="hf/acme/g/lora.gguf", gguf=GGUFSummary("llama", adapter=True)),
}

Found = dict[str, tuple[str, str | None]]
"""The path of each model and that of its projector, by the name of the model."""


def of_llama_cpp(text: str, mount_path: str) -> Found:
    return {
        name: (below(mount_path, options["model"]), options.get("mmproj") and below(mount_path, options["mmproj"]))
        for name, options in read_presets(text).items()
    }


def of_localai(text: str, mount_path: str) -> Found:
    listed = yaml.safe_load(text)
    assert {frozenset(one) - {"mmproj"} for one in listed} == {frozenset({"name", "backend", "parameters"})}
    assert {one["backend"] for one in listed} == {"llama-cpp"}
    assert not [path for one in listed for path in (one["parameters"]["model"], one.get("mmproj", "")) if ".." in path]
    return {one["name"]: (one["parameters"]["model"], one.get("mmproj")) for one in listed}


def of_llama_swap(text: str, mount_path: str) -> Found:
    found: Found = {}
    for name, one in yaml.safe_load(text)["models"].items():
        assert set(one) == {"cmd"}
        assert one["cmd"].count("${") == 1, "llama-swap refuses the whole file for a macro that it does not know"
        program, port, number, model, path, *rest = shlex.split(one["cmd"])
        assert (program, port, number, model) == ("llama-server", "--port", "${PORT}", "--model")
        assert rest[:1] in ([], ["--mmproj"])
        found[name] = below(mount_path, path), below(mount_path, rest[1]) if rest else None
    return found


READERS: Mapping[str, Callable[[str, str], Found]] = {
    "llama-cpp": of_llama_cpp,
    "localai": of_localai,
    "llama-swap": of_llama_swap,
}
UNFIT: Mapping[str, Callable[[str], bool]] = {
    "llama-cpp": lambda path: ";" in path or "#" in path,
    "localai": lambda path: ".." in path,
    "llama-swap": lambda path: "${" in path,
}
"""The paths that an engine's format can't hold; every other one must arrive."""


def paths(model: Model) -> tuple[str, str | None]:
    return model.path, model.projector.path if model.projector else None


def below(mount_path: str, path: str) -> str:
    assert path.startswith(f"{mount_path}/")
    return path.removeprefix(f"{mount_path}/")


def rendered(engine: Engine, models: Mapping[str, Model], mount_path: str = "/models") -> dict[str, str]:
    return documents(engine, [section(engine, name, model, mount_path) for name, model in models.items()])


every_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)


@every_engine
def test_the_file_is_this_one(engine: Engine) -> None:
    key = f"{engine.name}.models.{engine.extension}"
    files = rendered(engine, EXAMPLES)
    assert list(files) == [key]
    golden = GOLDENS / key
    if os.environ.get("UPDATE_GOLDENS"):
        golden.write_text(files[key])
    assert files[key] == golden.read_text(), "see the change with `UPDATE_GOLDENS=1 pytest` and git diff"


def test_every_golden_is_of_an_engine() -> None:
    assert {file.name for file in GOLDENS.iterdir()} == {
        f"{engine.name}.models.{engine.extension}" for engine in ENGINES.values()
    }
    assert set(READERS) == set(UNFIT) == set(ENGINES)


@every_engine
def test_the_examples_arrive_or_are_named_in_a_comment(engine: Engine) -> None:
    text = rendered(engine, EXAMPLES)[engine.key("models")]
    found = READERS[engine.name](text, "/models")
    left_out = {name for name in EXAMPLES if f"{engine.comment} {name} is left out: " in text}
    assert found.keys() | left_out == EXAMPLES.keys()
    assert not found.keys() & left_out
    assert len(left_out) == 3, "one that the format can't hold, the projector and the adapter"
    assert found["split"] == (SPLIT, None)
    assert found["gemma-3"] == ("hf/acme/g/g.gguf", "hf/acme/g/mmproj-F16.gguf")


TEXT = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), exclude_characters="/\\")
    | st.sampled_from(list(" \"'#;${}[]:%=&*!|>@`,?~-.\ufffe\ufeff\u00a0")),
    max_size=12,
)
PATHS = st.builds(lambda parts, end: "/".join([*parts, end]), st.lists(TEXT, max_size=3), TEXT.map("{}.gguf".format))
PATHS = PATHS.map("local/{}".format).filter(is_safe)
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,9}[a-z0-9])?", fullmatch=True) | st.sampled_from(
    ["default", "null", "true", "no", "1e3", "0x1f", "1.5", "2001-01-01"]
)


@dataclass(frozen=True)
class Case:
    models: dict[str, Model]
    mount_path: str


MODELS = st.builds(
    lambda path, projector: replace(MODEL, path=path, projector=projector and Projector(projector)),
    PATHS,
    st.none() | PATHS,
)
CASES = st.builds(Case, st.dictionaries(NAMES, MODELS, max_size=4), st.sampled_from(["/models", "/mnt/a-b_c.d/0"]))
WORST = replace(MODEL, path="local/ '\" #;${PORT}${env.HOME} ..: [x]\ufffe\U0010ffff .gguf")


@every_engine
@settings(deadline=None)
@given(case=CASES)
@example(case=Case({"a": WORST, "b": replace(MODEL, projector=Projector(WORST.path))}, "/models"))
def test_any_path_of_a_store_arrives_unchanged(engine: Engine, case: Case) -> None:
    files = rendered(engine, case.models, case.mount_path)
    fits = {
        name: paths(model)
        for name, model in case.models.items()
        if not any(path and UNFIT[engine.name](path) for path in paths(model))
    }
    assert list(files) == ([engine.key("models")] if fits else [])
    for text in files.values():
        assert READERS[engine.name](text, case.mount_path) == fits


@settings(deadline=None)
@given(TEXT)
@example('\ufeff\ufffe\uffff"\\\u00e9字😀\x7f')
def test_a_quoted_text_is_ascii_and_read_as_it_was(text: str) -> None:
    assert yaml.safe_load(quoted(text)) == text
    assert quoted(text).isascii()


@pytest.mark.parametrize("path", ["/models", "/mnt/models", "/a.b/c-d_e/_.", "/" + "a" * 255])
def test_a_mount_path_is_plain_and_absolute(path: str) -> None:
    assert is_mount_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "models",
        "/models/",
        "//models",
        "/a/../b",
        "/a/.",
        "/a b",
        "/a;b",
        "/ä",
        "/${A}",
        "/a\n",
        "/" + "a" * 256,
    ],
)
def test_no_other_mount_path_is_taken(path: str) -> None:
    assert not is_mount_path(path)
