"""llama.cpp's server finds what was provisioned, by the ConfigMaps alone, and answers a prompt.

It is started with the arguments of `deploy/examples`, with the paths that they have in a pod replaced.
"""

import contextlib
import re
import urllib.error
from pathlib import Path

import pytest
import yaml

from deploy.local.api import ApiError
from tests.support.engines.serving import COUNTING, serving
from tests.support.programs import eventually
from tests.support.stand import CLAIM, Stand

EXAMPLES = Path(__file__).parents[2] / "deploy" / "examples"


def test_a_server_on_the_path_from_the_catalog_answers_a_prompt(bench: Stand, tmp_path: Path) -> None:
    bench.start_operator()
    bench.apply("gemma", modelRef="hf:acme/gemma:Q4_K_M")
    bench.until("gemma", "Available", 240)
    model = bench.volume / bench.catalog()["gemma.path"]
    with serving(tmp_path / "engine.log", *arguments("llama-cpp", {"$(MODEL_PATH)": model})) as engine:
        assert engine.complete(COUNTING, 1) == " nine"


def test_a_router_loads_the_models_of_its_presets_and_drops_a_deleted_one(bench: Stand, tmp_path: Path) -> None:
    bench.start_operator("--catalog-engine=llama-cpp", f"--mount-path={bench.volume}")
    for name in ("gemma", "again"):
        bench.apply(name, modelRef=f"hf:acme/{name}:Q4_K_M")
    for name in ("gemma", "again"):
        bench.until(name, "Available", 240)
    presets = tmp_path / "llama-cpp.models.ini"
    presets.write_text(listing(bench, {"gemma", "again"}))
    flags = arguments("llama-cpp-router", {"/presets/llama-cpp.models.ini": presets})
    with serving(tmp_path / "router.log", *flags) as router:
        assert router.models() == {"gemma", "again"}
        assert {router.complete(COUNTING, 1, name) for name in ("gemma", "again")} == {" nine"}

        bench.patch("again", {"reclaimPolicy": "Delete"})
        bench.delete("again")
        bench.until_gone("again", 60)
        presets.write_text(listing(bench, {"gemma"}))
        assert router.models() == {"gemma"}
        assert router.complete(COUNTING, 1, "gemma") == " nine"
        with pytest.raises(urllib.error.HTTPError, match="400"):
            router.complete(COUNTING, 1, "again")


def listing(bench: Stand, names: set[str]) -> str:
    """The operator's presets for the claim, as soon as they list exactly these models."""
    return eventually(lambda: presets_of(bench, names), f"the presets list {names}", 60)


def presets_of(bench: Stand, names: set[str]) -> str | None:
    path = f"/api/v1/namespaces/{bench.namespace}/configmaps/model-catalog-llama-cpp"
    with contextlib.suppress(ApiError):
        text: str = bench.cluster.api.get(path)["data"][f"llama-cpp.{CLAIM}.ini"]
        return text if set(re.findall(r"^\[([^*\]]+)\]$", text, re.MULTILINE)) == names else None
    return None


def arguments(example: str, replaced: dict[str, Path]) -> list[str]:
    """Those of the first container of an example. Each key of `replaced` must be one of them."""
    deployment = next(yaml.safe_load_all((EXAMPLES / example / "server.yaml").read_text()))
    found = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert replaced.keys() <= set(found)
    return [str(replaced.get(word, word)) for word in found]
