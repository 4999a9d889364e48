"""The ConfigMaps of engines as a user sees them, from an operator that runs."""

import json
from pathlib import Path
from typing import Any

import yaml

from deploy.local.api import ApiError
from tests.domain.engines.preset_file import read_presets
from tests.support.ggufs import tiny_adapter, tiny_gguf, tiny_projector, write_gguf
from tests.support.programs import eventually
from tests.support.stand import Stand

PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"


def data(bench: Stand, engine: str) -> dict[str, str] | None:
    """The `data` of the engine's ConfigMap; None if it does not exist."""
    try:
        found = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/configmaps/model-catalog-{engine}")
    except ApiError as error:
        if error.code != 404:
            raise
        return None
    return found.get("data") or {}


def presets(bench: Stand) -> dict[str, dict[str, str]]:
    return read_presets((data(bench, "llama-cpp") or {}).get("llama-cpp.models.ini", ""))


def listed(bench: Stand) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] | None = yaml.safe_load((data(bench, "localai") or {}).get("localai.models.yaml", ""))
    return found or []


def test_ready_models_are_listed_for_engines_until_they_are_deleted(bench: Stand) -> None:
    repository = bench.hub.repository("acme/tiny")
    repository.add("tiny.Q4_K_M.gguf", tiny_gguf())
    repository.add("tiny.Q8_0.gguf", tiny_gguf(seed=1))
    repository.add("mmproj-tiny-f16.gguf", tiny_projector())
    bench.hub.repository("acme/other").add("other.Q4_K_M.gguf", tiny_gguf(seed=3))
    operator = bench.start_operator(
        "--catalog-engine=llama-cpp", "--catalog-engine=localai", "--mount-path=/mnt/models"
    )
    bench.apply("paused", modelRef="hf:acme/tiny:Q8_0", suspend=True)
    bench.apply("tiny", modelRef="hf:acme/tiny:Q4_K_M", projector="Auto")
    bench.apply("other", modelRef="hf:acme/other")
    for name in ("tiny", "other"):
        bench.until(name, "Available")
    bench.until("paused", "Suspended")
    wanted = {
        "tiny": {"model": f"/mnt/models/{PATH}", "mmproj": "/mnt/models/hf/acme/tiny/mmproj-tiny-f16.gguf"},
        "other": {"model": "/mnt/models/hf/acme/other/other.Q4_K_M.gguf"},
    }
    eventually(lambda: presets(bench) == wanted, "both Ready models have a preset")
    eventually(lambda: [one["name"] for one in listed(bench)] == ["other", "tiny"], "both are listed for LocalAI, too")
    assert listed(bench)[1]["parameters"]["model"] == PATH

    bench.delete("tiny")
    bench.until_gone("tiny")
    eventually(lambda: list(presets(bench)) == ["other"], "the section of the deleted model is dropped")

    assert operator.stop() == 0
    bench.start_operator("--catalog-engine=llama-cpp")
    eventually(lambda: data(bench, "localai") is None, "the ConfigMap of the engine that is switched off is gone")
    moved = {"other": {"model": "/models/hf/acme/other/other.Q4_K_M.gguf"}}
    eventually(lambda: presets(bench) == moved, "the path follows the setting")


def test_what_the_header_says_of_the_model_decides_who_gets_it(bench: Stand, tmp_path: Path) -> None:
    repository = bench.hub.repository("acme/tuned")
    repository.add("lora.gguf", tiny_adapter())
    tuned = write_gguf(
        tmp_path / "tuned.gguf", vocabulary=16, size=1024, base_model="https://huggingface.co/acme/base-1B"
    )
    repository.add("tuned.Q4_K_M.gguf", tuned.read_bytes())
    bench.start_operator("--catalog-engine=llama-cpp")
    bench.apply("lora", modelRef="hf:acme/tuned:lora.gguf")
    assert bench.until("lora", "Available")["status"]["model"]["gguf"]["adapter"] is True
    bench.apply("tuned", modelRef="hf:acme/tuned:Q4_K_M")
    assert bench.until("tuned", "Available")["status"]["model"]["gguf"]["baseModel"] == "acme/base-1B"
    assert json.loads(bench.catalog()["tuned.json"])["gguf"]["baseModel"] == "acme/base-1B"
    eventually(lambda: list(presets(bench)) == ["tuned"], "the model has a preset, the adapter has none")
    text = (data(bench, "llama-cpp") or {})["llama-cpp.models.ini"]
    assert "; lora is left out: it is an adapter (LoRA)" in text
