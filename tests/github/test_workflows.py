"""What runs on GitHub: correct for its checkers, pinned, and named by what is in the repository."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.release_values import with_image

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
DIGEST = f"sha256:{'a' * 64}"


def checked(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_actionlint_finds_nothing(actionlint: Path) -> None:
    done = checked(actionlint, "-shellcheck=", "-pyflakes=", *WORKFLOWS)
    assert (done.returncode, done.stdout) == (0, "")


def test_zizmor_finds_nothing() -> None:
    done = checked(Path(sys.executable).with_name("zizmor"), "--offline", "--no-progress", ".github")
    assert done.returncode == 0, done.stdout


def test_the_checkers_find_what_is_wrong(actionlint: Path, tmp_path: Path) -> None:
    wrong = tmp_path / ".github/workflows/wrong.yml"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("on: push\njobs: {a: {runs-on: ubuntu-24.04, steps: [{uses: actions/checkout@v4, with: {x: 1}}]}}")
    assert checked(actionlint, wrong).returncode == 1
    zizmor = checked(Path(sys.executable).with_name("zizmor"), "--offline", "--no-progress", wrong)
    assert "unpinned-uses" in zizmor.stdout


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_what_a_workflow_runs_is_in_the_repository(workflow: Path) -> None:
    text = workflow.read_text()
    named = re.findall(r"(?:-r|-f|file:|go-version-file:|run:) ([\w./-]+(?:\.txt|\.mod|Dockerfile|/run))", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_dependabot_knows_every_go_module() -> None:
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    known = {place for update in updates for place in update.get("directories", [])}
    tracked = subprocess.run(["git", "ls-files", "*go.mod"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert known == {f"/{Path(name).parent}" for name in tracked.stdout.split()}


@pytest.mark.parametrize("form", ["bug.yml", "feature.yml"])
def test_an_issue_form_asks_at_least_one_question_that_must_be_answered(form: str) -> None:
    body = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE" / form).read_text())["body"]
    identifiers = [field["id"] for field in body if field["type"] != "markdown"]
    assert len(set(identifiers)) == len(identifiers)
    assert any(field.get("validations", {}).get("required") for field in body)


def test_the_chart_of_a_release_has_its_image() -> None:
    values = yaml.safe_load(with_image((ROOT / "values.yaml").read_text(), "ghcr.io/acme/provisioner", DIGEST))
    assert (values["image"]["repository"], values["image"]["digest"]) == ("ghcr.io/acme/provisioner", DIGEST)


@pytest.mark.parametrize(("values", "digest"), [("image: {}", DIGEST), ('  digest: ""\n', "sha256:1")])
def test_values_or_a_digest_of_another_shape_are_refused(values: str, digest: str) -> None:
    with pytest.raises(ValueError, match="not"):
        with_image(values, "ghcr.io/acme/provisioner", digest)
