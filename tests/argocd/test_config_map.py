"""deploy/argocd/argocd-cm.yaml, which an administrator installs, contains the scripts that the other tests run.

`UPDATE_GOLDENS=1 pytest tests/argocd/test_config_map.py` writes it anew from the scripts.
"""

import os
from typing import Any

import yaml

from model_provisioner.domain.annotations import GROUP
from model_provisioner.kube.resource import KIND
from tests.argocd.scripts import ARGOCD, Document

CONFIG_MAP = ARGOCD / "argocd-cm.yaml"
_HEAD = """\
# Health and actions of ModelDownload for Argo CD, to be merged into its ConfigMap; docs/argocd.md says how.
# Made of the .lua files beside it by `UPDATE_GOLDENS=1 pytest tests/argocd/test_config_map.py`: change those.
"""


class _Blocks(yaml.SafeDumper):
    """Writes text of more than one line as a block, so that scripts stay readable."""


def _text(dumper: yaml.SafeDumper, value: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style="|" if "\n" in value else None)


_Blocks.add_representer(str, _text)


def _dumped(document: Document) -> str:
    return yaml.dump(document, Dumper=_Blocks, sort_keys=False, width=200)


def _config_map() -> Document:
    definitions = [
        {"name": file.parent.name, "action.lua": file.read_text()} for file in sorted(ARGOCD.glob("actions/*/*.lua"))
    ]
    actions = {"discovery.lua": (ARGOCD / "actions" / "discovery.lua").read_text(), "definitions": definitions}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "argocd-cm"},
        "data": {
            f"resource.customizations.health.{GROUP}_{KIND}": (ARGOCD / "health.lua").read_text(),
            f"resource.customizations.actions.{GROUP}_{KIND}": _dumped(actions),
        },
    }


def test_the_config_map_has_the_scripts_as_they_are() -> None:
    made = _config_map()
    if os.environ.get("UPDATE_GOLDENS"):
        CONFIG_MAP.write_text(_HEAD + _dumped(made))
    assert yaml.safe_load(CONFIG_MAP.read_text()) == made, "write it anew with `UPDATE_GOLDENS=1 pytest`"
