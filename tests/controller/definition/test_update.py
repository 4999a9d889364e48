"""`model-provisioner definition` on a real API server: what it replaces, what it leaves, and when it gives up."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from model_provisioner.controller.definition.update import REVISION, Definition, NotUpdated, update
from model_provisioner.kube.client import KubeApi
from tests.support.programs import Program, eventually

pytestmark = pytest.mark.xdist_group("definition")  # one process makes what all of them use

FILE = Path(__file__).parents[3] / "crds" / "modeldownload.yaml"
CURRENT = int(yaml.safe_load(FILE.read_text())["metadata"]["annotations"][REVISION])
NAME = "modeldownloads.models.rbee.dev"
PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME}"


@pytest.fixture(scope="module")
def own_cluster(binaries: Binaries) -> Iterator[Cluster]:
    """A control plane whose definition these tests may change."""
    with Cluster(binaries) as running:
        yield running


@pytest.fixture
def older(own_cluster: Cluster) -> Cluster:
    """The cluster with a definition of no revision, as Helm 3 creates it, with a field that the file does not have."""
    document = yaml.safe_load(FILE.read_text())
    document["metadata"]["annotations"] = {"example.com/note": "kept"}
    (version,) = document["spec"]["versions"]
    version["additionalPrinterColumns"][0]["name"] = "Older"
    schema = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    schema["removed"] = {"type": "string", "description": "A field of an older version."}
    if exists(own_cluster):
        document["metadata"]["resourceVersion"] = own_cluster.api.get(PATH)["metadata"]["resourceVersion"]
        own_cluster.api.replace(f"{PATH}?fieldManager=helm", document)
    else:
        own_cluster.api.create(f"{PATH.rpartition('/')[0]}?fieldManager=helm", document)
    return own_cluster


def exists(cluster: Cluster) -> bool:
    listed = cluster.api.get(PATH.rpartition("/")[0])["items"]
    return NAME in [one["metadata"]["name"] for one in listed]


def columns(cluster: Cluster) -> list[str]:
    stored = cluster.api.get(PATH)["spec"]["versions"][0]
    return [column["name"] for column in stored["additionalPrinterColumns"]]


def annotate(cluster: Cluster, revision: str) -> None:
    cluster.api.merge(PATH, {"metadata": {"annotations": {REVISION: revision}}})


def run(cluster: Cluster, directory: Path, *, file: Path = FILE, kubeconfig: Path | None = None) -> tuple[int, str]:
    """The exit code and the output of the program."""
    flags = [f"--file={file}", f"--kubeconfig={kubeconfig or cluster.kubeconfig}"]
    program = Program(["definition", *flags], directory / "definition.log", {})
    return program.process.wait(60), program.output()


def test_an_older_definition_becomes_the_files(older: Cluster, tmp_path: Path) -> None:
    code, output = run(older, tmp_path)
    assert (code, output) == (0, f"{NAME} is updated from revision 0 to {CURRENT}\n")
    wanted, stored = yaml.safe_load(FILE.read_text()), older.api.get(PATH)
    assert stored["spec"]["versions"] == wanted["spec"]["versions"], "a field that is gone must not stay"
    assert stored["metadata"]["annotations"] == {"example.com/note": "kept", **wanted["metadata"]["annotations"]}


def test_helm_alone_owns_the_spec_then(older: Cluster, tmp_path: Path) -> None:
    """So Helm 4, which applies definitions when it installs, can change it without a conflict."""
    older.api.merge(f"{PATH}?fieldManager=other", {"metadata": {"labels": {"other": "client"}}})
    assert run(older, tmp_path)[0] == 0
    entries = older.api.get(PATH)["metadata"]["managedFields"]
    owners = {(one["manager"], one["operation"]) for one in entries if "f:spec" in one["fieldsV1"]}
    assert owners == {("helm", "Apply")}
    assert "other" in {one["manager"] for one in entries}
    document = yaml.safe_load(FILE.read_text())
    document["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] = "Newer"
    query = "?fieldManager=helm&force=false"
    older.api.request("PATCH", PATH + query, document, content_type="application/apply-patch+yaml")
    assert columns(older)[0] == "Newer"


def test_a_newer_definition_stays(older: Cluster, tmp_path: Path) -> None:
    newer = str(CURRENT + 1)
    annotate(older, newer)
    code, output = run(older, tmp_path)
    assert (code, output) == (0, f"{NAME} has revision {newer}, which is newer than {CURRENT}: it stays as it is\n")
    assert columns(older)[0] == "Older"


@pytest.mark.parametrize("text", ["", "two", "-1", "1" * 30, "²"])
def test_a_revision_that_no_release_has_written_is_older(older: Cluster, tmp_path: Path, text: str) -> None:
    annotate(older, text)
    assert run(older, tmp_path)[0] == 0
    assert columns(older)[0] == "Model"


def test_it_creates_no_definition(older: Cluster, tmp_path: Path) -> None:
    older.api.delete(PATH)
    eventually(lambda: not exists(older), "the definition is gone")
    code, output = run(older, tmp_path)
    assert code == 1
    assert f'{NAME} is not updated: customresourcedefinitions.apiextensions.k8s.io "{NAME}" not found' in output


def test_without_the_right_it_says_so(older: Cluster, tmp_path: Path) -> None:
    older.create_service_account("default", "nobody")
    kubeconfig = older.kubeconfig_for_service_account("default", "nobody")
    code, output = run(older, tmp_path, kubeconfig=kubeconfig)
    assert code == 1
    assert f"{NAME} is not updated: " in output
    assert 'cannot get resource "customresourcedefinitions"' in output


class Meddled(KubeApi):
    """A client before whose first patch another client changes the definition."""

    patches = 0

    async def patch(self, path: str, body: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        self.patches += 1
        if self.patches == 1:
            await super().patch(path, {"metadata": {"labels": {"other": "client"}}})
        return await super().patch(path, body, *arguments, **named)


async def test_a_change_of_another_client_is_not_lost(older: Cluster) -> None:
    api = await Meddled.connect(older.kubeconfig)
    assert isinstance(api, Meddled)
    try:
        said = await update(api, Definition.parse(FILE.read_text()), sleep=lambda _: asyncio.sleep(0))
    finally:
        await api.close()
    assert (said, api.patches) == (f"{NAME} is updated from revision 0 to {CURRENT}", 3)
    assert older.api.get(PATH)["metadata"]["labels"] == {"other": "client"}


async def test_it_gives_up_if_the_api_server_is_away(older: Cluster, tmp_path: Path) -> None:
    config = yaml.safe_load(older.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    api = await KubeApi.connect(tmp_path / "kubeconfig")
    try:
        with pytest.raises(NotUpdated, match="is not updated after 0 seconds: the API server could not be reached"):
            await update(api, Definition.parse(FILE.read_text()), seconds=0.3, sleep=lambda _: asyncio.sleep(0.01))
    finally:
        await api.close()


WRONG = [
    ("{", "the file is not YAML"),
    ("[]", "no object with a kind"),
    ("kind: CustomResourceDefinition", "no object with a kind"),
    ("{kind: Secret, metadata: {name: x}, spec: {}}", f"no CustomResourceDefinition {NAME}"),
    ("{kind: CustomResourceDefinition, metadata: {name: others}, spec: {}}", f"no CustomResourceDefinition {NAME}"),
    (f"{{kind: CustomResourceDefinition, metadata: {{name: {NAME}}}, spec: 1}}", "no CustomResourceDefinition"),
]


@pytest.mark.parametrize(("text", "why"), WRONG, ids=[row[0] for row in WRONG])
def test_a_file_without_our_definition_is_a_wrong_setting(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Definition.parse(text)


def test_a_file_that_is_not_there_is_a_wrong_setting(own_cluster: Cluster, tmp_path: Path) -> None:
    code, output = run(own_cluster, tmp_path, file=tmp_path / "missing.yaml")
    assert code == 2
    assert "missing.yaml" in output
