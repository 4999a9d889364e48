"""Wrong refs on a real API server: each is refused, and what to write instead is told in the words of the parser.

The parser is tested with the same table in tests/domain/refs/test_kinds.py.
"""

from pathlib import Path

import pytest
import yaml

from deploy.local.cluster import Cluster
from model_provisioner.domain.refs.refs import KINDS
from tests.kube.test_crd import REGEX, manifest, refusal

WRONG: dict[str, list[dict[str, str]]] = yaml.safe_load(
    (Path(__file__).parents[1] / "data/wrong_refs.yaml").read_text()
)
EACH = [pytest.param(one, id=f"{source}-{number}") for source, rows in WRONG.items() for number, one in enumerate(rows)]


@pytest.mark.parametrize("wrong", EACH)
def test_a_wrong_ref_is_refused_with_what_to_write(cluster: Cluster, namespace: str, wrong: dict[str, str]) -> None:
    message = refusal(cluster, namespace, manifest(modelRef=wrong["ref"])) or "it was accepted"
    assert message.startswith("Invalid: ")
    assert message.count("spec.modelRef:") == 1, message
    told = message.rpartition(": must ")[2]
    assert wrong["says"] in f"must {told}"
    assert wrong["write"] in told
    assert not [piece for piece in REGEX if piece in told]


def test_each_source_has_enough_wrong_refs() -> None:
    assert set(WRONG) == {kind.schemes[0] for kind in KINDS}
    assert min(len({one["ref"] for one in rows}) for rows in WRONG.values()) >= 10
