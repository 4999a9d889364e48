"""What a source consists of: docs/architecture.md lists it, and each source has all of it."""

import re
from pathlib import Path

import pytest
import yaml

from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.refs import KINDS, parse
from model_provisioner.transfer.sources.resolver import SOURCES, source_of

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "operator" / "model_provisioner"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
SOURCES_PAGE = (ROOT / "docs" / "sources.md").read_text()
LISTED = PAGE.partition("<!-- sources:")[2].partition("<!-- end of sources -->")[0]


def of(kind: type[ModelRef], path: str) -> Path:
    """The file `path` of the list for one source."""
    homes = {
        "domain/refs/<source>.py": PACKAGE
        / f"{kind.__module__.replace('.', '/').removeprefix('model_provisioner/')}.py",
        "transfer/sources/<source>.py": PACKAGE
        / f"{source_of(kind).__module__.replace('.', '/').removeprefix('model_provisioner/')}.py",
        "deploy/samples/<source>.yaml": ROOT / f"deploy/samples/{kind.schemes[0]}.yaml",
    }
    return homes.get(path, ROOT / path)


def test_each_kind_of_ref_has_a_source_and_no_other_has() -> None:
    assert set(SOURCES) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.schemes[0])
def test_a_source_has_each_file_of_the_list(kind: type[ModelRef]) -> None:
    paths = re.findall(r"^- `([^`]+)`", LISTED, re.MULTILINE)
    assert len(paths) == 5
    files = [of(kind, path) for path in paths]
    assert [file.name for file in files if not file.exists()] == []
    own = [file for path, file in zip(paths, files, strict=True) if "<source>" in path]
    others = {of(other, path) for other in KINDS if other is not kind for path in paths if "<source>" in path}
    assert len(own) == 3
    assert not others & set(own), "each source has files of its own"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.schemes[0])
def test_its_sample_is_a_ref_of_it(kind: type[ModelRef]) -> None:
    documents = yaml.safe_load_all(of(kind, "deploy/samples/<source>.yaml").read_text())
    refs = [one["spec"]["modelRef"] for one in documents if one["kind"] == "ModelDownload"]
    assert [type(parse(ref)) for ref in refs] == [kind] * len(refs)
    assert refs


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.schemes[0])
def test_the_resource_has_rules_for_it_and_the_page_a_row(kind: type[ModelRef]) -> None:
    (version,) = yaml.safe_load((ROOT / "crds/modeldownload.yaml").read_text())["spec"]["versions"]
    ref = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["modelRef"]
    scheme = kind.schemes[0]
    assert [rule for rule in ref["x-kubernetes-validations"] if scheme in rule["rule"]]
    row = next(line for line in SOURCES_PAGE.splitlines() if line.startswith(f"| `{scheme}:` |"))
    for key in re.findall(r"`([^`]+)`", " ".join(one.keys for one in kind.secret_kinds)):
        assert key.replace("<Name>", "NAME") in row


def test_the_page_has_a_row_for_each_source() -> None:
    rows = re.findall(r"^\| `([a-z0-9]+):` \|", SOURCES_PAGE, re.MULTILINE)
    assert sorted(rows) == sorted(kind.schemes[0] for kind in KINDS)
