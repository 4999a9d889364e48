"""Runs checkov and kube-score, and reads the exceptions. Called by the test in this folder.

A finding is the same value for both. Which values the chart is rendered with does not belong here.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_BY_CHECKOV = Path(__file__).with_name("by_checkov.py")
_KUBERNETES = "v1.29"  # the oldest of `kubeVersion` in Chart.yaml
_PASSED = 10  # kube-score's grade for an object without a finding


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """`check` is checkov's identifier, or kube-score's and its message. `item` is `Kind/name`."""

    check: str
    item: str
    values: str
    """The name of the set of values that the chart was rendered with."""


class ExceptionEntry(BaseModel):
    """One entry of the file of exceptions."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    checks: tuple[str, ...] = Field(min_length=1)
    objects: tuple[str, ...] = Field(min_length=1)
    values: tuple[str, ...] = ()
    """The sets of values; without any, it is an exception for all."""
    reason: str = Field(min_length=40)

    def covers(self, finding: Finding) -> bool:
        return (
            finding.check in self.checks
            and finding.item in self.objects
            and (not self.values or finding.values in self.values)
        )

    def not_needed(self, findings: Sequence[Finding]) -> list[str]:
        """The parts of this entry that cover no finding."""
        met = {(each.check, each.item) for each in findings if self.covers(each)}
        unmet = [f"{check} of {item}" for check in self.checks for item in self.objects if (check, item) not in met]
        sets = {each.values for each in findings if self.covers(each)}
        return unmet + [f"{self.checks[0]} with {name}" for name in self.values if name not in sets]


EXCEPTIONS: TypeAdapter[tuple[ExceptionEntry, ...]] = TypeAdapter(tuple[ExceptionEntry, ...])


def by_checkov(python: str, files: Sequence[Path], environment: Mapping[str, str]) -> list[Finding]:
    """What checkov finds in each of `files`, which are named like their sets of values. `python` has checkov."""
    command = [python, "-I", "-W", "ignore", str(_BY_CHECKOV), *map(str, files)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    findings = []
    for file, check, resource in map(json.loads, done.stdout.splitlines()):
        kind, _, name = resource.split(".")[:3]  # Kind.namespace.name, and of a pod of a Deployment the labels
        findings.append(Finding(check, f"{kind}/{name}", Path(file).stem))
    return findings


def by_kube_score(program: Path, files: Sequence[Path]) -> list[Finding]:
    """As by_checkov."""
    return [finding for file in files for finding in _by_kube_score(program, file)]


def _by_kube_score(program: Path, file: Path) -> list[Finding]:
    command = [str(program), "score", "--kubernetes-version", _KUBERNETES, "--output-format", "json", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    objects = json.loads(done.stdout)
    return [
        Finding(
            f"{made['check']['id']}: {comment['summary']}",
            f"{one['type_meta']['kind']}/{one['object_meta']['name']}",
            file.stem,
        )
        for one in objects
        for made in one["checks"]
        if not made["skipped"] and made["grade"] < _PASSED
        for comment in made["comments"]
    ]
