"""The file that LocalAI reads at its start (`LOCALAI_MODELS_CONFIG_FILE`): a YAML list of models.

Source of the format: core/config/model_config.go and model_config_loader.go of LocalAI. It refuses a path that is
absolute or has `..` anywhere in it, and joins the others to its directory of models: `LOCALAI_MODELS_PATH` is the
place where the claim is mounted.
"""

from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.served_model import ServedModel
from model_provisioner.domain.engines.yaml_text import quoted


def _entry(model: ServedModel) -> str:
    projector = f"  mmproj: {quoted(model.projector)}\n" if model.projector else ""
    return (
        f"- name: {quoted(model.name)}\n"
        "  backend: llama-cpp\n"
        "  parameters:\n"
        f"    model: {quoted(model.path)}\n"
        f"{projector}"
    )


def _obstacle(model: ServedModel) -> str | None:
    if any(".." in path for path in model.paths):
        return "LocalAI refuses a path with '..' in it; rename the file at its source"
    return None


LOCALAI = Engine(
    name="localai",
    extension="yaml",
    comment="#",
    opening="# For LOCALAI_MODELS_CONFIG_FILE. Paths are below LOCALAI_MODELS_PATH. Written by model-provisioner.\n",
    entry=_entry,
    obstacle=_obstacle,
)
