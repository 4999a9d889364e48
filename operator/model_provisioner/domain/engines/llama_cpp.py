"""Presets for the router of llama.cpp (`llama-server --models-preset FILE`): a section for each model.

Source of the format: common/preset.cpp of llama.cpp. There is no quoting and no escaping: a value ends before the next
`;`, `#` or line break, and blanks around it are dropped. One unknown key makes the router refuse the whole file.

`version = 1` stands in `[*]`, the section for all models, and not before the first section as in the documentation:
of a key there, older versions of llama.cpp make a model `default`, which has no file (llama.cpp#22364), and loading it
starts a second router (llama.cpp#27351). The parser skips the key in every section.
"""

from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.served_model import ServedModel

_ENDS_A_VALUE = frozenset(";#")


def _entry(model: ServedModel) -> str:
    projector = f"mmproj = {model.absolute_projector}\n" if model.projector else ""
    return f"\n[{model.name}]\nmodel = {model.absolute_path}\n{projector}"


def _obstacle(model: ServedModel) -> str | None:
    if any(_ENDS_A_VALUE & set(path) for path in model.paths):
        return "a ';' or '#' in a path ends the value in this format; rename the file at its source"
    return None


LLAMA_CPP = Engine(
    name="llama-cpp",
    extension="ini",
    comment=";",
    opening="; Presets for llama-server --models-preset. Written by model-provisioner.\n\n[*]\nversion = 1\n",
    entry=_entry,
    obstacle=_obstacle,
)
