"""Ollama's own code lists and reads the view that we write."""

import hashlib
import json
from pathlib import Path

import pytest

from model_provisioner.domain.model_facts import OllamaSettings
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import PlannedFile
from model_provisioner.domain.views.ollama_names import OllamaName
from model_provisioner.transfer.store.store import Store
from model_provisioner.transfer.views import ollama
from tests.support import tools
from tests.support.ggufs import tiny_gguf, tiny_projector
from tests.support.models import SampleFile, put
from tests.support.ollama import listing
from tests.support.views import CLAIM, publish, viewed
from tests.support.volumes import needs_root, read_only

pytestmark = tools.needs("ollama")

TYPE = "application/vnd.ollama.image."
SETTINGS = OllamaSettings("{{ .System }} {{ .Prompt }}", '{"num_ctx":4096,"stop":["x"]}', "Be brief.")


def gguf(path: str, content: bytes) -> SampleFile:
    digest = Digest(hashlib.sha256(content).hexdigest())
    url = None if path.startswith("local/") else f"https://hub.test/{path}"
    return SampleFile(PlannedFile(path, len(content), digest, f"hf:{path}", url), content)


FILE = gguf("hf/Acme/Tiny-GGUF/tiny.Q4_K_M.gguf", tiny_gguf())
OWN = gguf("ollama/library/tiny/1b/model.gguf", tiny_gguf(seed=1))
SEEING = gguf("hf/Acme/Eye/eye-Q8_0.gguf", tiny_gguf(seed=2)), gguf("hf/Acme/Eye/mmproj.gguf", tiny_projector())
MINE = gguf("local/mine.gguf", tiny_gguf(seed=3))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A volume with a view of four models."""
    root = tmp_path / "volume"
    root.mkdir()
    with Store.open(root, None) as store:
        publish(store, root, "tiny", FILE)
        publish(store, root, "own", OWN)
        publish(store, root, "eye", *SEEING)
        publish(store, root, "mine", MINE)
        models = (
            viewed("hf:Acme/Tiny-GGUF:Q4", "tiny", FILE),
            viewed("ollama:tiny:1b", "own", OWN, settings=SETTINGS),
            viewed("hf:Acme/Eye:Q8_0", "eye", *SEEING),
            viewed("local:mine.gguf", "mine", MINE),
        )
        result = ollama.update(store, CLAIM, models)
    assert set(result.listed) == {"hf.co/Acme/Tiny-GGUF:Q4_K_M", "tiny:1b", "hf.co/Acme/Eye:Q8_0", "mine:latest"}
    return root


def test_ollama_lists_each_model_and_reads_its_files_and_texts(root: Path) -> None:
    found = listing(root / "views/ollama")
    assert {name: one["architecture"] for name, one in found.items()} == {
        "hf.co/Acme/Tiny-GGUF:Q4_K_M": {f"{TYPE}model": "llama"},
        "tiny:1b": {f"{TYPE}model": "llama"},
        "hf.co/Acme/Eye:Q8_0": {f"{TYPE}model": "llama", f"{TYPE}projector": "clip"},
        "mine:latest": {f"{TYPE}model": "llama"},
    }
    config = found["tiny:1b"]["config"]
    assert (config["model_format"], config["model_family"]) == ("gguf", "llama")
    assert (config["model_type"], config["file_type"]) == ("1.1B", "Q4_K_M")
    assert found["tiny:1b"]["texts"] == {
        f"{TYPE}template": SETTINGS.template,
        f"{TYPE}system": SETTINGS.system,
        f"{TYPE}params": SETTINGS.parameters,
    }
    assert [found[name]["texts"] for name in ("mine:latest", "hf.co/Acme/Eye:Q8_0")] == [{}, {}]
    seeing = sum(file.planned.size for file in SEEING)
    assert found["hf.co/Acme/Eye:Q8_0"]["size"] - seeing < 1000, "the sum of all blobs"


@needs_root
def test_ollama_reads_a_volume_that_is_mounted_read_only_elsewhere(root: Path, tmp_path: Path) -> None:
    with read_only(root, tmp_path / "elsewhere") as mounted:
        assert len(listing(mounted / "views/ollama")) == 4


def test_ollama_lists_nothing_in_an_empty_view(root: Path) -> None:
    with Store.open(root, None) as store:
        ollama.update(store, CLAIM, ())
    assert listing(root / "views/ollama") == {}


@pytest.mark.parametrize(
    "path",
    [
        "hf.co/acme/tiny/Q8_0",
        "_host:5000/_name-space/a.b-c_/1.0",
        f"{'h' * 200}/{'n' * 80}/{'m' * 80}/{'t' * 80}",
        f"hf.co/{'n' * 81}/m/t",
        f"hf.co/n/{'m' * 81}/t",
        f"hf.co/n/m/{'t' * 81}",
        "hf.co/name.space/m/t",
        "hf.co/n/.m/t",
        "hf.co/n/m/-t",
        "hf.co/n/m/a:b",
        "hf.co/n/mödel/t",
        "hf.co/n/a..b/t",
        "hf.co/n/m x/t",
    ],
)
def test_ollama_accepts_the_names_that_we_accept(tmp_path: Path, path: str) -> None:
    config = b'{"model_format":"gguf"}'
    digest = hashlib.sha256(config).hexdigest()
    put(tmp_path, f"blobs/sha256-{digest}", config)
    document = {"config": {"digest": f"sha256:{digest}", "size": len(config)}, "layers": []}
    put(tmp_path, f"manifests/{path}", json.dumps(document).encode())
    name = OllamaName.of_path(path)
    assert list(listing(tmp_path)) == ([str(name)] if name else [])
