"""`docs/modeldownload.md` says what the program does: its tables fit the code, its examples a real API server.

What the page quotes is looked up where it comes from; a rule that only prose tells is held by that rule's own test.
"""

import argparse
import json
import re
import shlex
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.cluster import Cluster
from model_provisioner.domain import annotations
from model_provisioner.domain.catalog import CATALOG_NAME, LIMIT_BYTES, Entry, rows
from model_provisioner.domain.errors import ProvisionError, Retryable, Terminal
from model_provisioner.domain.lifecycle.backoff import pause
from model_provisioner.domain.lifecycle.state import State
from model_provisioner.domain.liveness import ALONE
from model_provisioner.domain.modeldownload import Projector
from model_provisioner.kube import resource
from model_provisioner.transfer.cli import prune
from tests.chart.installing import create
from tests.support.samples import MODEL

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "modeldownload.md").read_text()
INSTALL = (ROOT / "docs" / "install.md").read_text()
LINKING = [*sorted(ROOT.glob("[CRS]*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = "".join(file.read_text() for file in sorted((ROOT / "operator").rglob("*.py")))
(VERSION,) = yaml.safe_load((ROOT / "crds" / "modeldownload.yaml").read_text())["spec"]["versions"]
SCHEMA = VERSION["schema"]["openAPIV3Schema"]["properties"]
VALUES = yaml.safe_load((ROOT / "values.yaml").read_text())
DEFAULT_CHART = list(yaml.safe_load_all((ROOT / "tests" / "data" / "chart" / "default.yaml").read_text()))

STATES, SOON, STALLED = "States", "Errors that are tried again soon", "Errors that need an action"
ERRORS: dict[type[ProvisionError], str] = {
    cls: title for title, root in ((SOON, Retryable), (STALLED, Terminal)) for cls in root.__subclasses__()
}

Row = dict[str, str]
Document = dict[str, Any]


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    (found,) = re.findall(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def table(title: str) -> list[Row]:
    """The rows of the last table of a section, by the names of its columns."""
    lines = re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE)[-1].splitlines()
    head, _, *body = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [dict(zip(head, cells, strict=True)) for cells in body]


def blocks(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(page: str) -> str:
    return re.sub(r"^```.*?^```$", "", page, flags=re.MULTILINE | re.DOTALL)


def code() -> list[str]:
    """What stands in backticks within the text."""
    return re.findall(r"`([^`\n]+)`", prose(PAGE))


def fields(schema: Document) -> set[str]:
    """The names of all fields of a schema, at any depth."""
    below = schema.get("items", schema).get("properties", {})
    return set(below).union(*(fields(one) for one in below.values()))


def keys(values: object) -> set[str]:
    return set(values).union(*map(keys, values.values())) if isinstance(values, dict) else set()


@pytest.mark.parametrize("title", [STATES, SOON, STALLED])
def test_every_reason_has_exactly_one_row_where_it_belongs(title: str) -> None:
    errors = [cls.__name__ for cls, where in ERRORS.items() if where == title]
    expected = [f"`{reason}`" for reason in (errors or list(State))]
    assert sorted(row["reason"] for row in table(title)) == sorted(expected)
    assert all(cell for row in table(title) for cell in row.values())


def spoken(seconds: float) -> list[str]:
    return [f"{seconds:g}", "s"] if seconds <= 60 else [f"{seconds / 60:g}", "min"]


def tried_again_after(cls: type[ProvisionError]) -> str:
    """The shortest and the longest pause, in the words of the page."""
    pauses = [pause(cls("why"), failures, chance) for failures, chance in product((1, 1000), (0.0, 1.0))]
    known = [seconds for seconds in pauses if seconds is not None]
    if not known:
        return "no"
    assert len(known) == len(pauses)
    shortest, longest = spoken(min(known)), spoken(max(known))
    if shortest == longest:
        return " ".join(longest)
    first = shortest[:1] if shortest[1] == longest[1] else shortest
    return " ".join([*first, "to", *longest])


@pytest.mark.parametrize("cls", ERRORS, ids=[cls.__name__ for cls in ERRORS])
def test_it_says_when_an_error_is_tried_again(cls: type[ProvisionError]) -> None:
    (row,) = [row for row in table(ERRORS[cls]) if row["reason"] == f"`{cls.__name__}`"]
    assert row["tried again after"] == tried_again_after(cls)


def test_the_annotations_and_the_finalizer_are_those_of_the_resource() -> None:
    named = set(re.findall(rf"{re.escape(annotations.GROUP)}/\w+", PAGE))
    known = {annotations.RECONCILE_AT, annotations.VERIFY_AT, resource.FINALIZER, resource.API_VERSION}
    assert named == known | {f"{annotations.GROUP}/hosts"}
    assert '{GROUP}/hosts"' in SOURCES


def test_every_field_that_is_named_by_its_path_is_one_of_the_resource() -> None:
    named = " ".join([*code(), *re.findall(r"jsonpath='{\.(status\.[a-z]+[A-Z]\w+)}", PAGE)])
    paths = re.findall(r"\b(spec|status)((?:\.\w+)+)", named)
    assert len(paths) > 10
    for root, path in paths:
        schema = SCHEMA[root]
        for name in path.split(".")[1:]:
            schema = schema["properties"][name]


def test_every_other_name_is_one_of_the_program_the_resource_or_the_chart() -> None:
    reasons = {*State, *(cls.__name__ for cls in ERRORS)}
    conditions = {"Ready", "Reconciling", "Stalled"}
    kubernetes = {"configMapKeyRef", "foregroundDeletion"}
    asked = {name.rpartition("/")[2] for name in (annotations.RECONCILE_AT, annotations.VERIFY_AT)}
    literals = set(re.findall(r'"([A-Z]\w+)"', SOURCES))
    known = reasons | conditions | kubernetes | asked | literals | fields(SCHEMA["spec"]) | keys(VALUES)
    words = {word for word in code() if re.fullmatch(r"[A-Za-z]+[a-z][A-Z]\w*|[A-Z][a-z]+", word)}
    assert len(words) > 40
    assert words <= known


def test_every_field_of_the_spec_is_in_the_example() -> None:
    example = yaml.safe_load(blocks("yaml", section("Write one"))[0])
    assert set(example["spec"]) == set(SCHEMA["spec"]["properties"])


def test_the_columns_are_those_of_the_resource() -> None:
    shown: list[list[str]] = [["NAME"], []]
    for column in VERSION["additionalPrinterColumns"]:
        shown[column.get("priority", 0)].append(column["name"].upper())
    usual, wide = (f"{', '.join(names[:-1])} and {names[-1]}" for names in shown)
    assert f"The columns are {usual}; `-o wide` adds {wide}." in PAGE


def test_the_catalog_is_described_as_it_is_made() -> None:
    made = rows("tinyllama", Entry("hf:a/b", replace(MODEL, projector=Projector("mmproj.gguf"))))
    assert sorted(row["key"] for row in table("The catalog")) == sorted(f"`{key}`" for key in made)
    assert f"`{CATALOG_NAME}`" in section("The catalog")
    assert f"{LIMIT_BYTES // 1024} KiB" in section("The catalog")


def test_the_lease_is_described_as_it_is_held() -> None:
    assert f"kubectl get lease {resource.LEASE_NAME} " in section("When nothing happens")
    assert f"not renewed for {ALONE.duration} s" in section("When nothing happens")


def test_what_the_operator_says_of_itself_is_quoted_from_it() -> None:
    """An ellipsis stands for what the program fills in; a message of the program may go over several literals."""
    source = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    quoted = re.findall(r"^\| `([^`]+)` \|", section("When nothing happens"), re.MULTILINE)
    assert len(quoted) >= 14
    missing = [text for text in quoted if not re.search('"' + re.escape(text).replace("…", "[^\n]*"), source)]
    assert missing == []


def patches(text: str) -> list[Document]:
    return [json.loads(patch) for patch in re.findall(r"kubectl patch modeldownload .*? -p '(\{.*?\})'", text)]


def test_every_patch_is_accepted(cluster: Cluster, namespace: str) -> None:
    path = resource.object_path(namespace, "tinyllama")
    cluster.apply(ROOT / "deploy" / "samples", namespace)
    found = patches(PAGE + INSTALL)
    assert len(found) >= 7
    for patch in found:
        cluster.api.merge(f"{path}?dryRun=All&fieldValidation=Strict", patch)


def test_pod_container_port_and_directory_are_those_of_the_chart() -> None:
    (deployment,) = [one for one in DEFAULT_CHART if one["kind"] == "Deployment"]
    (operator,) = [one for one in deployment["spec"]["template"]["spec"]["containers"] if one["name"] == "operator"]
    (port,) = [str(one["containerPort"]) for one in operator["ports"] if one["name"] == "health"]
    (models,) = [one["mountPath"] for one in operator["volumeMounts"] if one["name"] == "models"]
    commands = "".join(blocks("sh", PAGE + INSTALL))
    assert set(re.findall(r"\bdeploy/(model\S*)", commands)) == {deployment["metadata"]["name"]}
    assert set(re.findall(r" -c (\S+)", commands)) == {operator["name"]}
    assert set(re.findall(r"port-forward .* (\d+) &|localhost:(\d+)", commands)) == {(port, ""), ("", port)}
    assert set(re.findall(r" --store (\S+)", commands)) == {models}
    (label,) = re.findall(r"get pods .* -l (\S+)=(\S+)", commands)
    assert label in deployment["spec"]["selector"]["matchLabels"].items()


@pytest.mark.parametrize("page", [PAGE, INSTALL], ids=["modeldownload", "install"])
def test_prune_is_called_as_it_can_be(page: str) -> None:
    (command,) = re.findall(r"-- model-provisioner prune (.*)", page)
    parser = argparse.ArgumentParser()
    prune.add_arguments(parser)
    assert not parser.parse_args(shlex.split(command)).yes


def test_every_manifest_is_accepted(cluster: Cluster, namespace: str) -> None:
    texts = [*blocks("yaml", PAGE), *blocks("yaml", (ROOT / "docs" / "workers.md").read_text())]
    documents = [document for text in texts for document in yaml.safe_load_all(text)]
    kinds = [document["kind"] for document in documents]
    assert kinds[:3] == ["ModelDownload", "ModelDownload", "Secret"]
    assert set(kinds[3:]) == {"Deployment"}
    for document in documents:
        create(cluster.api, {**document, "metadata": {**document["metadata"], "namespace": namespace}}, dry_run=True)


def anchors(file: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(file.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", LINKING, ids=[page.name for page in LINKING])
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text())
    for path, anchor in links:
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), f"{path}#{anchor}"


def test_the_page_is_found_from_the_others() -> None:
    assert "(docs/modeldownload.md)" in (ROOT / "README.md").read_text()
    assert "(modeldownload.md)" in INSTALL
