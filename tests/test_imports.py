"""Each program imports what it uses: another library costs memory in every process, and time at each start."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from model_provisioner.transfer.sources import resolver
from tests.support import buckets
from tests.support.ggufs import tiny_gguf
from tests.support.hub import Hub

HTTP = {"aiohappyeyeballs", "aiohttp", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl"}
SETTINGS = {"annotated_types", "dotenv", "pydantic", "pydantic_core", "pydantic_settings", "typing_inspection"}
CLUSTER = {*HTTP, *SETTINGS, "aiohttp_retry", "dateutil", "kubernetes", "typing_extensions", "urllib3", "yaml"}
TRANSFER = {"msgspec", "multidict", "pycurl", "typing_extensions"}
KOPF = {"iso8601", "jsonpatch", "jsonpointer", "kopf", "pythonjsonlogger"}
HEAVY = {
    "ctypes",
    "email",
    "fractions",
    "http",
    "importlib.metadata",
    "json",
    "multiprocessing",
    "statistics",
    "tempfile",
}
"""Modules of the standard library that no fetch needs."""

SOURCES = {f"model_provisioner.transfer.sources.{file.split('.')[0]}" for file in resolver.SOURCES.values()}

REPORT = """
import sys
from model_provisioner import cli
try:
    cli.main(sys.argv[2:])
except (SystemExit, Exception):
    pass  # a cluster is missing; what has been imported until then is what is used
used = sys.stdlib_module_names | {"__main__", "cython_runtime", "model_provisioner", "sitecustomize"}
names = {name for name, module in sys.modules.items() if module is not None}
tops = {name.partition(".")[0] for name in names if not name.startswith("_")} - used
import json
json.dump({"libraries": sorted(tops), "all": sorted(names)}, open(sys.argv[1], "w"))
"""


def imported(
    tmp_path: Path, *arguments: str, environment: Mapping[str, str] | None = None
) -> tuple[set[str], set[str]]:
    """The libraries that the program has imported at its end, and all modules."""
    report = tmp_path / "imported.json"
    command = [sys.executable, "-c", REPORT, str(report), *arguments]
    variables = {**os.environ, **(environment or {})}
    subprocess.run(command, input=b"", capture_output=True, timeout=60, check=False, env=variables)
    found = json.loads(report.read_text())
    return set(found["libraries"]), set(found["all"])


def test_a_fetch_imports_what_moves_bytes(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.repository("owner/repo").add("model.gguf", tiny_gguf())
        flags = [f"--to={tmp_path / 'store'}", f"--endpoint={hub.endpoint}", f"--ca-file={hub.ca_file}"]
        libraries, modules = imported(tmp_path, "fetch", "hf:owner/repo", "--allow-host=127.0.0.1", *flags)
    assert (tmp_path / "store/hf/owner/repo/model.gguf").exists()
    assert libraries == TRANSFER
    assert not modules & HEAVY
    assert "model_provisioner.transfer.worker.worker" not in modules
    assert "model_provisioner.transfer.store.records" not in modules
    assert {name for name in modules if name in SOURCES} == {"model_provisioner.transfer.sources.huggingface"}


def test_a_fetch_asks_the_hub_before_it_imports_the_engine(tmp_path: Path) -> None:
    with Hub() as hub:
        hub.repository("owner/repo").add("model.gguf", tiny_gguf())
        flags = ["--dry-run", f"--to={tmp_path}", f"--endpoint={hub.endpoint}", f"--ca-file={hub.ca_file}"]
        _, modules = imported(tmp_path, "fetch", "hf:owner/repo", *flags)
        assert hub.log
    assert "model_provisioner.transfer.download.engine" not in modules
    assert "model_provisioner.domain.gguf.header" not in modules


FORBIDDEN = {"botocore", "boto3", "xml", "pyexpat"}
"""What reads answers of buckets, or would sign: a worker gets addresses that are signed."""


@pytest.mark.parametrize("flags", [[], ["--resolver"]])
def test_a_worker_loads_nothing_for_buckets(flags: list[str], tmp_path: Path) -> None:
    libraries, modules = imported(tmp_path, "fetch", "--worker", *flags)
    assert not {*libraries, *(name.partition(".")[0] for name in modules)} & FORBIDDEN


def test_a_fetch_from_a_bucket_imports_no_library_more(tmp_path: Path) -> None:
    with buckets.moto() as server:
        server.put("models")
        server.put("models/m.Q4_K_M.gguf", tiny_gguf())
        flags = [f"--to={tmp_path / 'store'}", f"--endpoint=s3={server.url}", "--allow-host=127.0.0.1"]
        keys = {"AWS_ACCESS_KEY_ID": server.keys.key_id, "AWS_SECRET_ACCESS_KEY": server.keys.secret}
        libraries, modules = imported(tmp_path, "fetch", "s3://models/", *flags, environment=keys)
    assert (tmp_path / f"store/s3/127.0.0.1+{server.url.rpartition(':')[2]}/models/m.Q4_K_M.gguf").exists()
    assert libraries == TRANSFER
    assert "botocore" not in modules


@pytest.mark.parametrize("flags", [[], ["--resolver"]])
def test_a_worker_imports_what_moves_bytes(flags: list[str], tmp_path: Path) -> None:
    libraries, modules = imported(tmp_path, "fetch", "--worker", *flags)
    assert libraries == TRANSFER
    assert not modules & (HEAVY - {"ctypes"})  # which asks the kernel to end the worker with its operator
    assert "model_provisioner.transfer.cli.fetch" not in modules


@pytest.mark.parametrize(
    ("subcommand", "own"),
    [
        ("gateway", {"prometheus_client"}),
        ("operator", {"prometheus_client", "msgspec", *KOPF}),
        ("release", set[str]()),
        ("definition", set[str]()),
    ],
)
def test_the_programs_of_a_cluster_import_no_others_libraries(subcommand: str, own: set[str], tmp_path: Path) -> None:
    """None of them has pycurl, and none the synchronous half of the official client."""
    flags = {
        "operator": ["--store=a/b=/tmp"],
        "release": ["--namespace=a", "--deployment=b"],
        "definition": ["--file=crds/modeldownload.yaml"],
        "gateway": [],
    }[subcommand]
    libraries, _ = imported(tmp_path, subcommand, *flags, f"--kubeconfig={tmp_path / 'missing'}")
    assert libraries == CLUSTER | own


def test_an_operator_without_gates_imports_none_of_their_modules(tmp_path: Path) -> None:
    _, modules = imported(tmp_path, "operator", "--store=a/b=/tmp", f"--kubeconfig={tmp_path / 'missing'}")
    assert "model_provisioner.controller.app" in modules
    assert not {name for name in modules if name.startswith("model_provisioner.controller.gates")}


def test_the_program_that_waits_imports_no_library(tmp_path: Path) -> None:
    """A node runs one for each pod that waits, so each module counts."""
    for flags in (["--path=a.gguf"], ["--name=tiny", f"--catalog={tmp_path}"], ["--ref=hf:a/b:c.gguf"]):
        libraries, modules = imported(tmp_path, "wait", f"--models={tmp_path}", "--timeout=0", *flags)
        assert libraries == set()
        assert not modules & {*HEAVY - {"json"}, "asyncio", "dataclasses", "hashlib", "pathlib", "threading", "urllib"}


def test_another_user_of_the_official_client_finds_all_of_it() -> None:
    code = """
import sys, model_provisioner.kube.client
assert not {"requests", "oauthlib", "websocket"} & set(sys.modules)
import kubernetes
print(kubernetes.client.V1Pod.__name__, kubernetes.watch.Watch.__name__, hasattr(kubernetes, "nothing"))
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "V1Pod Watch False\n"
