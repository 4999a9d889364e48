"""Helm, found, or built once before the first test: a first build takes longer than a test may."""

import contextlib

import pytest

from deploy.local.gobuild import GoMissing
from deploy.local.helm import find_or_build
from tests.chart.rendering import Helm


def pytest_collection_finish(session: pytest.Session) -> None:
    wanted = any("helm" in getattr(item, "fixturenames", ()) for item in session.items)
    if session.config.option.collectonly or not wanted:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled(), contextlib.suppress(GoMissing):
        find_or_build()


@pytest.fixture(scope="session")
def helm() -> Helm:
    try:
        return Helm(find_or_build())
    except GoMissing as missing:
        pytest.skip(f"{missing}, or set HELM to a Helm 3")
