"""The configuration of llama-swap: a command for each model, which starts `llama-server` with its file.

Source of the format: internal/config of llama-swap. It expands `${NAME}` in every value and refuses the whole file if
it does not know the name; it has no escape for that. A command is split by the quoting rules of POSIX.
"""

import shlex

from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.served_model import ServedModel
from model_provisioner.domain.engines.yaml_text import quoted


def _entry(model: ServedModel) -> str:
    command = f"llama-server --port ${{PORT}} --model {shlex.quote(model.absolute_path)}"
    if model.absolute_projector:
        command += f" --mmproj {shlex.quote(model.absolute_projector)}"
    return f"  {quoted(model.name)}:\n    cmd: {quoted(command)}\n"


def _obstacle(model: ServedModel) -> str | None:
    if any("${" in path for path in model.paths):
        return "llama-swap expands '${' in a path; rename the file at its source"
    return None


LLAMA_SWAP = Engine(
    name="llama-swap",
    extension="yaml",
    comment="#",
    opening="# A configuration of llama-swap. Written by model-provisioner.\nmodels:\n",
    entry=_entry,
    obstacle=_obstacle,
)
