"""docs/workers.md: the manifest with the annotation, and the one by hand, which says what the policy adds."""

import copy
import re

import yaml

from deploy.local.api import Document
from tests.chart.injection.conftest import ON
from tests.chart.injection.pods import Served, container
from tests.chart.rendering import ROOT, Helm

PAGE = (ROOT / "docs" / "workers.md").read_text()


def manifests() -> tuple[Document, Document]:
    """The Deployments of the section `One annotation`."""
    section = PAGE.partition("\n## One annotation\n")[2].partition("\n## ")[0]
    one, other = (yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", section, re.DOTALL))
    return one, other


def pod_of(manifest: Document) -> Document:
    """The pod of the template, with the security context that the namespaces of the tests demand."""
    template = copy.deepcopy(manifest["spec"]["template"])
    template["spec"]["containers"] = [container() | one for one in template["spec"]["containers"]]
    template["metadata"]["generateName"] = "page-"
    return {"metadata": template["metadata"], "spec": template["spec"]}


def test_by_hand_is_what_the_policy_makes(served: Served, namespace: str) -> None:
    short, by_hand = manifests()
    made = served.create(pod_of(short), dry_run=True)
    written = served.create(pod_of(by_hand), namespace, dry_run=True)
    assert without_token_and_names(made) == without_token_and_names(written)
    assert made["metadata"]["labels"] == written["metadata"]["labels"]
    assert short["metadata"] == by_hand["metadata"]


def test_by_hand_is_left_as_it_is_by_the_policy(served: Served) -> None:
    _, by_hand = manifests()
    stored = served.create(pod_of(by_hand), dry_run=True)
    assert [one["name"] for one in stored["spec"]["volumes"] if one["name"].startswith("model")] == ["models"]
    assert stored["spec"]["containers"][0]["env"] == [
        {"name": one["name"], "valueFrom": {"fieldRef": {"apiVersion": "v1", **one["valueFrom"]["fieldRef"]}}}
        for one in by_hand["spec"]["template"]["spec"]["containers"][0]["env"]
    ]


def test_the_table_has_every_annotation_that_the_policy_reads(helm: Helm) -> None:
    rendering = helm.render(*ON)
    (policy,) = rendering.kind("MutatingAdmissionPolicy")
    read = set(re.findall(r"annotations\[\??'(models\.rbee\.dev/[\w-]+)'\]", str(policy)))
    section = PAGE.partition("\n## One annotation\n")[2].partition("\n## ")[0]
    listed = set(re.findall(r"^\| `(models\.rbee\.dev/[\w-]+)` \|", section, re.MULTILINE))
    assert read == listed
    assert len(read) == 4


def without_token_and_names(stored: Document) -> Document:
    """The spec with the volume of the claim under one name, and without the volume of the account's token."""
    text = yaml.safe_dump(stored["spec"]).replace("models-rbee-dev", "models")
    spec: Document = yaml.safe_load(text)
    for one in spec["containers"]:
        one["volumeMounts"] = [mount for mount in one["volumeMounts"] if mount["name"] == "models"]
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] == "models"]
    return spec
