"""The settings of kopf's watch, compared with our own: after silence, both start again within 75 s."""

from collections.abc import Sequence

import kopf

from model_provisioner.controller.process import handlers
from model_provisioner.controller.process.progress import MemoryProgress
from model_provisioner.kube import reflector


def test_no_watch_is_silent_for_longer_than_bookmarks_allow() -> None:
    """The whole time, with the backoffs, is measured by tests/controller/test_liveness.py if FAULTS=long."""
    settings = kopf.OperatorSettings()
    handlers._configure(settings, MemoryProgress())
    assert 60 < reflector.SILENCE_SECONDS <= 70
    assert 60 < settings.watching.inactivity_timeout <= 70
    assert reflector._PAUSES.first <= 5


def test_an_api_server_that_is_back_is_noticed_soon_by_both() -> None:
    settings = kopf.OperatorSettings()
    handlers._configure(settings, MemoryProgress())
    pauses = settings.networking.error_backoffs
    assert isinstance(pauses, Sequence), "an iterator would be used up by the first failure"
    assert max(pauses) <= 10
    assert reflector._PAUSES.longest <= 10
