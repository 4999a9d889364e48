"""The commands in the documentation work: each page is run from its first block to its last, against real programs.

What stands in for a cluster: a real API server, a hub that has the models that the pages name, and operator and gateway
as processes instead of a pod. So `kubectl port-forward` is left out, and its local addresses become those of the
processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.binaries import Binaries
from deploy.local.cluster import RBAC, Cluster
from tests.docs.blocks import Block, commands, run, wrappers
from tests.support import prepared, tools
from tests.support.ggufs import tiny_gguf
from tests.support.programs import eventually, free_port, is_listening, running
from tests.support.stand import Stand, stand

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").glob("*.md")),
    *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY")),
]
NAMESPACE = "models"
ACCOUNTS = ("my-account", "models-viewer")
INSTALLS = {"README.md", "install.md"}
"""The pages that apply the sample themselves."""
SAMPLE_IS_READY = """
kubectl apply -n models -f deploy/samples/hf.yaml > sample.log
kubectl wait -n models modeldownload/tinyllama --for=condition=Ready --timeout=60s > sample.log
"""

EXPECTED = {
    "README.md": ["modeldownload.models.rbee.dev/tinyllama condition met", "event: sync"],
    "argocd.md": ["configmap/argocd-cm patched"],
    "air-gap.md": ["secret/internal-ca created"],
    "dashboards.md": ["ey"],
    "http-api.md": ['"name":"tinyllama"', '"download_id"'],
    "install.md": ["STATUS: deployed", "tinyllama condition met", "has been upgraded", "tinyllama patched"],
    "modeldownload.md": ["Available", "tinyllama annotated", '"tinyllama" deleted', "model-catalog not labeled", "ok"],
    "runbooks.md": ["Available", "holderIdentity", "yes"],
    "workers.md": ["tinyllama condition met", "hf/TheBloke/TinyLlama", '"sha256:', "[tinyllama]", '"path"'],
}
"""What the output of a page contains at least, in this order."""


def run_blocks(page: Path) -> list[Block]:
    return [block for block in commands(page.read_text()) if not block.not_run]


RUN = [page for page in PAGES if run_blocks(page)]


def test_every_page_with_commands_has_an_expectation() -> None:
    assert {page.name for page in RUN} == set(EXPECTED)


def test_what_is_not_run_is_little_and_has_a_reason() -> None:
    blocks = [block for page in PAGES for block in commands(page.read_text())]
    reasons = [block.not_run for block in blocks if block.not_run]
    assert len(blocks) > 30
    assert len(reasons) < len(blocks) / 2
    assert all(len(reason) > 10 for reason in reasons)


@dataclass(frozen=True)
class Bench:
    """`local` has the addresses that the pages forward ports to, and those that stand in for them."""

    stand: Stand
    local: dict[str, str]


@contextmanager
def bench(binaries: Binaries, directory: Path) -> Iterator[Bench]:
    """A control plane with the resource type, and the operator and a gateway that serve the namespace of the pages."""
    with prepared.with_resource_types(binaries) as cluster:
        for namespace in (NAMESPACE, "argocd"):
            cluster.create_namespace(namespace)
        cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "argocd-cm", "namespace": "argocd"}}
        )
        grant(cluster)
        with stand(cluster, NAMESPACE, directory) as made, gateway(cluster, directory) as listen:
            made.hub.repository("TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF").add("tinyllama.Q4_K_M.gguf", tiny_gguf())
            health = f"127.0.0.1:{free_port()}"
            made.start_operator(f"--health-listen={health}", "--catalog-engine=llama-cpp")
            eventually(lambda: is_listening(int(health.rpartition(":")[2])), "the operator listens")
            yield Bench(made, {"localhost:8080": health, "localhost:8081": listen})


def grant(cluster: Cluster) -> None:
    """Rights for the accounts of the pages, as the chart adds them to `edit` and `view`.

    No controller manager runs here, which would put the rules of aggregated ClusterRoles together.
    """
    names = {"apiVersion": f"{RBAC}/v1", "metadata": {"name": "accounts", "namespace": NAMESPACE}}
    rule = {"apiGroups": ["models.rbee.dev"], "resources": ["modeldownloads"], "verbs": ["*"]}
    subjects = [
        {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
        for name in (*ACCOUNTS, "gateway", "model-provisioner")
    ]
    role = {"apiGroup": RBAC, "kind": "Role", "name": "accounts"}
    cluster.apply(
        [
            {**names, "kind": "Role", "rules": [rule]},
            {**names, "kind": "RoleBinding", "roleRef": role, "subjects": subjects},
        ]
    )
    for name in ("gateway", ACCOUNTS[0]):
        cluster.create_service_account(NAMESPACE, name)


@contextmanager
def gateway(cluster: Cluster, directory: Path) -> Iterator[str]:
    """The address of a gateway."""
    port = free_port()
    flags = [
        f"--listen=127.0.0.1:{port}",
        f"--kubeconfig={cluster.kubeconfig_for_service_account(NAMESPACE, 'gateway')}",
        f"--watch-namespace={NAMESPACE}",
        f"--default-namespace={NAMESPACE}",
    ]
    with running(["gateway", *flags], directory / "gateway.log"):
        eventually(lambda: is_listening(port), "the gateway listens")
        yield f"127.0.0.1:{port}"


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_the_commands_of_a_page_work(page: Path, binaries: Binaries, programs: dict[str, Path], tmp_path: Path) -> None:
    with bench(binaries, tmp_path) as here:
        environment = {
            "PATH": f"{wrappers(tmp_path / 'bin', {**programs, 'curl': curl()})}:/usr/bin:/bin",
            "KUBECONFIG": str(here.stand.cluster.kubeconfig),
            "HOME": str(tmp_path),
        }
        done = run(script(page, here), checkout(tmp_path, here), environment)
    assert done.returncode == 0, done.stdout
    rest = done.stdout
    for text in EXPECTED[page.name]:
        assert text in rest, done.stdout
        rest = rest.partition(text)[2]


def script(page: Path, here: Bench) -> str:
    """All blocks in order. A page whose subject is an object finds it Ready before each block."""
    before = "" if page.name in INSTALLS else SAMPLE_IS_READY
    text = "".join(f"{before}echo '--- line {block.line}'\n{block.text}" for block in run_blocks(page))
    for forwarded, real in here.local.items():
        text = text.replace(forwarded, real)
    return text.replace("NAMESPACE", NAMESPACE).replace(" NAME ", " tinyllama ")


def curl() -> str:
    return tools.require("curl")


def checkout(directory: Path, here: Bench) -> Path:
    """A directory with what a clone has and the commands name; what they write does not land in the real one."""
    place = directory / "clone"
    place.mkdir()
    for name in ("Chart.yaml", "crds", "deploy", "templates", "values.schema.json", "values.yaml", ".helmignore"):
        (place / name).symlink_to(ROOT / name)
    (place / "internal-ca.crt").symlink_to(here.stand.hub.ca_file)
    return place
