"""What `deploy/image` leaves out is not missed: the programs run in an environment that has the rest only."""

import re
import shutil
import subprocess
import sysconfig
import venv
from importlib import metadata
from pathlib import Path

import pytest
import yaml

import model_provisioner
from deploy.image import install, slim
from deploy.local.cluster import Cluster
from tests.gateway.process import gateway_process, get, read_to_the_end
from tests.support.ggufs import tiny_gguf
from tests.support.stand import stand

pytestmark = pytest.mark.xdist_group("image")  # one process makes what all of them use

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image installs, copied from the environment of the tests, without what `slim` leaves out."""
    directory = tmp_path_factory.mktemp("image")
    venv.create(directory, symlinks=True)
    (packages,) = directory.glob("lib/python*/site-packages")
    here = Path(sysconfig.get_path("purelib"))
    for name in re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements.txt").read_text(), re.MULTILINE):
        for file in metadata.files(name) or []:
            if not file.as_posix().startswith("..") and file.suffix != ".pyc":
                copy(here / file, packages / file)
    (packages / "program.pth").write_text(str(Path(model_provisioner.__file__).parents[1]))
    python(directory, str(Path(slim.__file__)))
    return directory


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def python(environment: Path, *arguments: str) -> str:
    command = [str(environment / "bin" / "python"), "-I", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def test_most_of_what_is_installed_is_left_out(environment: Path) -> None:
    (packages,) = environment.glob("lib/python*/site-packages")
    assert slim.size(packages) < 62e6  # 15 of them are cryptography, which makes the certificate for worker pods
    assert slim.size(packages / "kubernetes") < 3e6
    for name in slim.UNUSED:
        assert not list(packages.glob(f"{name.replace('-', '_')}*")), name


def test_every_module_of_the_program_is_imported(environment: Path) -> None:
    python(environment, "-c", install.IMPORT_EVERYTHING)


@pytest.mark.parametrize("subcommand", ["operator", "gateway", "fetch", "release"])
def test_each_subcommand_starts(environment: Path, subcommand: str) -> None:
    assert f"model-provisioner {subcommand}" in python(environment, "-m", "model_provisioner.cli", subcommand, "--help")


@pytest.fixture
def programs(environment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that the test starts run in that environment."""
    monkeypatch.setenv("PROGRAMS_PYTHON", str(environment / "bin" / "python"))


@pytest.mark.usefixtures("programs")
def test_the_operator_fetches_a_model(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    with stand(cluster, namespace, tmp_path) as bench:
        bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
        operator = bench.start_operator()
        bench.apply("tiny", modelRef="hf:acme/tiny")
        bench.until("tiny", "Available")
        assert bench.published() == ["hf/acme/tiny/tiny.Q4_K_M.gguf"]
        assert operator.stop() == 0


@pytest.mark.usefixtures("programs")
def test_the_gateway_lists_what_there_is(tmp_path: Path) -> None:
    with gateway_process(tmp_path) as gateway, gateway.connect() as client:
        client.sendall(get("/v1/models/downloads"))
        assert b" 200 " in read_to_the_end(client)


def test_the_image_has_the_version_of_the_package() -> None:
    (version,) = re.findall(r'image\.version="(.*?)"', DOCKERFILE)
    assert version == model_provisioner.__version__ == yaml.safe_load((ROOT / "Chart.yaml").read_text())["appVersion"]
