"""The files that `helm package` puts into the chart.

The repository's root is the chart, and Helm stores all of it in a Secret, so sources and tests must stay out.
"""

import tarfile
from pathlib import Path

import pytest

from tests.chart.rendering import Helm

WANTED = {"Chart.yaml", "values.yaml", "values.schema.json", "README.md", "LICENSE", "templates", "crds", "files"}
LARGEST = 100 * 1024  # bytes; a release must fit into a Secret of 1 MiB


@pytest.fixture
def package(helm: Helm, tmp_path: Path) -> Path:
    helm.run("package", ".", "--destination", str(tmp_path))
    (built,) = tmp_path.iterdir()
    return built


def test_the_package_holds_the_chart_alone(package: Path) -> None:
    with tarfile.open(package) as archive:
        roots = {name.split("/")[1] for name in archive.getnames()}
    assert roots - {".helmignore"} == WANTED


def test_the_package_is_small(package: Path) -> None:
    assert package.stat().st_size < LARGEST
