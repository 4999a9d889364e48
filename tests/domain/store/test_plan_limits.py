"""A plan that the status of an object could not name is refused before its bytes are fetched."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.store import plan_limits
from model_provisioner.domain.store.plan import Plan
from model_provisioner.domain.store.plan_limits import check_plan
from tests.support.models import largest_plan, plan_of, sample

CRD = Path(__file__).parents[3] / "crds" / "modeldownload.yaml"
PLAN = plan_of(sample())


def model_schema() -> dict[str, Any]:
    (version,) = yaml.safe_load(CRD.read_text())["spec"]["versions"]
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    fields: dict[str, Any] = status["properties"]["model"]["properties"]
    return fields


def test_the_limits_are_those_of_the_schema() -> None:
    model = model_schema()
    files = model["files"]
    assert files["maxItems"] == plan_limits.MAX_FILES
    assert files["items"]["properties"]["path"]["maxLength"] == model["path"]["maxLength"] == plan_limits.MAX_PATH
    assert model["revision"]["maxLength"] == plan_limits.MAX_REVISION
    assert model["repository"]["maxLength"] == plan_limits.MAX_REPOSITORY
    assert model["sizeBytes"]["format"] == files["items"]["properties"]["sizeBytes"]["format"] == "int64"


def test_the_largest_plan_passes() -> None:
    check_plan(largest_plan())


def _with_path(plan: Plan, path: str) -> Plan:
    return replace(plan, files=(replace(plan.files[0], path=path), *plan.files[1:]))


def _with_sizes(plan: Plan, *sizes: int) -> Plan:
    return replace(plan, files=tuple(replace(plan.files[0], size=size) for size in sizes))


BEYOND: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "files": (lambda plan: _with_sizes(plan, *[1] * 4097), "has 4,097 files, and an object can list 4,096; choose"),
    "path": (lambda plan: _with_path(plan, "d/" * 1024 + "x"), "a path of 2,049 characters, .* hold 2,048; choose"),
    "all paths": (
        lambda plan: replace(plan, files=_with_path(plan, "d/" * 1000).files * 600),
        "has 600 files whose paths together are too long",
    ),
    "size": (lambda plan: _with_sizes(plan, 2**63), "states a size that is not from 0 to 9223372036854775807"),
    "negative size": (lambda plan: _with_sizes(plan, -5), "states a size that is not"),
    "size of all": (lambda plan: _with_sizes(plan, 2**62, 2**62), "states a size that is not"),
    "revision": (lambda plan: replace(plan, revision="x" * 257), "states a revision of 257 characters"),
    "repository": (lambda plan: replace(plan, repository="x" * 257), "states a repository of 257 characters"),
}


@pytest.mark.parametrize("case", BEYOND)
def test_what_is_beyond_a_limit_is_refused_with_the_limit(case: str) -> None:
    change, says = BEYOND[case]
    with pytest.raises(UnsupportedSource, match=f"^hf:acme/tiny .*{says}"):
        check_plan(change(PLAN))


def test_a_long_ref_is_cut_in_the_message() -> None:
    with pytest.raises(UnsupportedSource) as refused:
        check_plan(replace(PLAN, ref="hf:acme/" + "x" * 1000, revision="x" * 257))
    assert len(str(refused.value)) < 300
