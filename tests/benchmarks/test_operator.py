"""The benchmark measures the programs that users install, and its pages name the commands that wrote them."""

import re
import subprocess
from pathlib import Path

import yaml

from benchmarks.operator.stage import Stage
from deploy.local.cluster import Cluster
from tests.support.hub import Hub

ROOT = Path(__file__).parents[2]


def test_the_operator_that_is_measured_serves_what_the_chart_turns_on(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    rendered = yaml.safe_load_all((ROOT / "tests" / "data" / "chart" / "default.yaml").read_text())
    (template,) = [one["spec"]["template"]["spec"] for one in rendered if one["kind"] == "Deployment"]
    (operator,) = [container for container in template["containers"] if container["name"] == "operator"]
    served = {argument.split("=")[0] for argument in operator["args"] if "-listen=" in argument}
    with Hub() as hub:
        stage = Stage(cluster, hub, tmp_path)
        stage.volumes[namespace] = tmp_path
        flags = stage.flags([namespace], "127.0.0.1:1", "127.0.0.1:2")
    assert served == {flag.split("=")[0] for flag in flags if "-listen=" in flag} != set()


def test_a_page_that_names_the_command_that_wrote_it_is_written_by_it() -> None:
    pages = {page: re.findall(r"^Written by `make ([\w-]+)`", page.read_text(), re.MULTILINE) for page in results()}
    found = [(page, target) for page, targets in pages.items() for target in targets]
    assert found
    for page, target in found:
        recipe = subprocess.check_output(["make", "--dry-run", target], cwd=ROOT, text=True)
        assert f"--write {page.relative_to(ROOT)} " in recipe


def results() -> list[Path]:
    return sorted((ROOT / "benchmarks").glob("RESULTS*.md"))
